-- The version of an account's password if it lives. 0 or 1 row, by primary key.
SELECT c.version, a.subject, e.incident
FROM credentials_account a
JOIN credentials_credential c ON c.account_id = a.id AND c.class = 'password'
JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'password'
WHERE a.id = %(account)s AND c.epoch >= e.epoch
