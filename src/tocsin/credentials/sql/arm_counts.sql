-- What a cutover would end, per class. Up to 9 rows; scans the population's credentials, sessions, links, tokens and factors once: about 5 s at 24 million.
SELECT class, count(*)
FROM (
  SELECT c.class FROM credentials_credential c
  JOIN credentials_account a ON a.id = c.account_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = c.class
  WHERE a.population_id = %(population)s AND (%(cohort)s::smallint IS NULL OR a.cohort = %(cohort)s::smallint) AND c.epoch >= e.epoch
  UNION ALL
  SELECT 'session' FROM credentials_session s
  JOIN credentials_account a ON a.id = s.account_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'session'
  WHERE a.population_id = %(population)s AND (%(cohort)s::smallint IS NULL OR a.cohort = %(cohort)s::smallint) AND s.epoch >= e.epoch
  UNION ALL
  SELECT 'reset_token' FROM credentials_resettoken t
  JOIN credentials_account a ON a.id = t.account_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'reset_token'
  WHERE a.population_id = %(population)s AND (%(cohort)s::smallint IS NULL OR a.cohort = %(cohort)s::smallint)
    AND t.epoch >= e.epoch AND t.used_at IS NULL AND t.revoked_at IS NULL AND t.expires_at > %(at)s
  UNION ALL
  SELECT b.class FROM credentials_bearer b
  JOIN credentials_account a ON a.id = b.account_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = b.class
  JOIN credentials_credential c ON c.account_id = a.id AND c.class = 'password' AND c.version = b.version
  WHERE a.population_id = %(population)s AND (%(cohort)s::smallint IS NULL OR a.cohort = %(cohort)s::smallint)
    AND b.epoch >= e.epoch AND b.spent_at IS NULL AND b.revoked_at IS NULL AND b.expires_at > %(at)s
  UNION ALL
  SELECT f.class FROM credentials_factor f
  JOIN credentials_account a ON a.id = f.account_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = f.class
  WHERE a.population_id = %(population)s AND (%(cohort)s::smallint IS NULL OR a.cohort = %(cohort)s::smallint)
    AND f.epoch >= e.epoch AND (f.class <> 'recovery_code' OR f.last_step = 0)
) x
GROUP BY class
