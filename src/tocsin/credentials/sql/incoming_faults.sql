-- Say which lines cannot be taken: nobody has that id, the id or the login stands twice in the batch, the login is somebody else's.
-- Up to 50,000 rows; index: credentials_account (population, login_hmac).
UPDATE credentials_incoming i SET fault_field = f.field, fault = f.fault
FROM (
  SELECT x.line,
         CASE WHEN x.subject IS NULL OR x.nth_id > 1 THEN 'external_id' ELSE 'login' END AS field,
         CASE WHEN x.subject IS NULL THEN 'no customer has this id'
              WHEN x.nth_id > 1 THEN 'an earlier line has the same id'
              WHEN x.nth_login > 1 THEN 'an earlier line has the same address'
              ELSE 'another customer signs in with this address' END AS fault
  FROM (
    SELECT line, subject, login_hmac,
           row_number() OVER (PARTITION BY external_id ORDER BY line) AS nth_id,
           row_number() OVER (PARTITION BY login_hmac ORDER BY line) AS nth_login
    FROM credentials_incoming
  ) x
  LEFT JOIN credentials_account a ON a.population_id = %(population)s AND a.login_hmac = x.login_hmac
  WHERE x.subject IS NULL OR x.nth_id > 1 OR x.nth_login > 1 OR (a.id IS NOT NULL AND a.subject IS DISTINCT FROM x.subject)
) f
WHERE f.line = i.line
