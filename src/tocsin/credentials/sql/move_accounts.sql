-- Move the selected accounts of one range of ids into a cohort, out of cohorts with the same epochs. Up to 50,000 rows; primary key. Locks
-- these rows; the caller holds the population, so that no cutover begins meanwhile.
UPDATE credentials_account a SET cohort = %(cohort)s
WHERE a.population_id = %(population)s AND a.id > %(after)s AND a.id <= %(upto)s AND a.cohort = ANY(%(sources)s::smallint[]) AND (
  (%(subjects)s::bigint[] IS NOT NULL AND a.subject = ANY(%(subjects)s::bigint[]))
  OR (%(exposure)s::bigint IS NOT NULL
      AND EXISTS (SELECT 1 FROM incidents_exposedsubject x WHERE x.exposure_id = %(exposure)s::bigint AND x.subject_id = a.subject))
  OR (%(set_before)s::timestamptz IS NOT NULL
      AND EXISTS (SELECT 1 FROM credentials_credential c WHERE c.account_id = a.id AND c.class = 'password'
                  AND (c.set_at IS NULL OR c.set_at < %(set_before)s::timestamptz)))
)
