-- In which cohorts the selected accounts stand now, how many, from which id to which. A row per cohort; scans the population's accounts once
-- (about 10 s at 24 million). A password of which nobody knows when it was set counts as set before any instant.
SELECT a.cohort, count(*), min(a.id), max(a.id)
FROM credentials_account a
WHERE a.population_id = %(population)s AND (
  (%(subjects)s::bigint[] IS NOT NULL AND a.subject = ANY(%(subjects)s::bigint[]))
  OR (%(exposure)s::bigint IS NOT NULL
      AND EXISTS (SELECT 1 FROM incidents_exposedsubject x WHERE x.exposure_id = %(exposure)s::bigint AND x.subject_id = a.subject))
  OR (%(set_before)s::timestamptz IS NOT NULL
      AND EXISTS (SELECT 1 FROM credentials_credential c WHERE c.account_id = a.id AND c.class = 'password'
                  AND (c.set_at IS NULL OR c.set_at < %(set_before)s::timestamptz)))
)
GROUP BY a.cohort ORDER BY a.cohort
