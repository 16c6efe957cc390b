-- A password with the epoch read in the statement that makes it. 1 row.
INSERT INTO credentials_credential (account_id, class, epoch, version, hash, set_at)
SELECT a.id, 'password', e.epoch, 1, %(hash)s, %(at)s
FROM credentials_account a
JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'password'
WHERE a.id = %(account)s
