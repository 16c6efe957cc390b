-- Which of some subjects are not through the gate. Rows: up to the number asked for, 10,000. Index: credentials_account_subject. No lock.
SELECT subject FROM credentials_gate WHERE population = %(population)s AND subject = ANY(%(subjects)s) AND NOT (open AND delivered)
