-- A page of the people of an exposure, in the order of their numbers; with `not_in`, those that another exposure does not hold.
-- Rows: the limit; index: primary key.
SELECT e.subject_id, e.cohort_id FROM incidents_exposedsubject e
WHERE e.exposure_id = %(exposure)s AND e.subject_id > %(after)s
  AND (%(not_in)s::bigint IS NULL
       OR NOT EXISTS (SELECT 1 FROM incidents_exposedsubject o WHERE o.exposure_id = %(not_in)s AND o.subject_id = e.subject_id))
ORDER BY e.subject_id LIMIT %(limit)s
