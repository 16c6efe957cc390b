-- A reset link, with the epoch of its class read in the statement that makes it. 1 row; index: the epochs' primary key.
WITH made AS (
  INSERT INTO credentials_resettoken (token_sha256, request, account_id, epoch, context, created_at, expires_at)
  SELECT %(token)s, %(request)s, a.id, e.epoch, %(context)s::bytea[], %(at)s, %(expires_at)s
  FROM credentials_account a
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'reset_token'
  WHERE a.id = %(account)s
  RETURNING account_id, epoch
)
SELECT p.incident, made.epoch
FROM made
JOIN credentials_account a ON a.id = made.account_id
JOIN credentials_epoch p ON p.population_id = a.population_id AND p.cohort = a.cohort AND p.class = 'password'
