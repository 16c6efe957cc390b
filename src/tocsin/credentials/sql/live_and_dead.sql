-- Passwords of a population that live and that are dead. 1 row; scans its credentials once: about 5 s at 24 million.
SELECT count(*) FILTER (WHERE c.epoch >= e.epoch), count(*) FILTER (WHERE c.epoch < e.epoch)
FROM credentials_credential c
JOIN credentials_account a ON a.id = c.account_id
JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = c.class
WHERE a.population_id = %(population)s AND c.class = 'password'
