-- Live passwords of which nobody knows when they were set. 1 row; scans the population's credentials once: about 5 s at 24 million.
SELECT count(*)
FROM credentials_credential c
JOIN credentials_account a ON a.id = c.account_id
JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = c.class
WHERE a.population_id = %(population)s AND c.class = 'password' AND c.set_at IS NULL AND a.subject IS NOT NULL AND c.epoch >= e.epoch
  AND (%(cohort)s::smallint IS NULL OR a.cohort = %(cohort)s::smallint) AND NOT a.cohort = ANY(%(spared)s::smallint[])
