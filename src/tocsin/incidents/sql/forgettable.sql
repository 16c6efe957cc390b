-- A page of people in any exposure of an incident whom no other incident still needs (open, or held), in the order of their numbers.
-- Rows: the limit; index: primary key, once per exposure named. `own` are this incident's exposures, `others` those that forbid it.
SELECT DISTINCT e.subject_id FROM incidents_exposedsubject e
WHERE e.exposure_id = ANY(%(own)s::bigint[]) AND e.subject_id > %(after)s
  AND NOT EXISTS (
    SELECT 1 FROM incidents_exposedsubject o WHERE o.exposure_id = ANY(%(others)s::bigint[]) AND o.subject_id = e.subject_id
  )
ORDER BY e.subject_id LIMIT %(limit)s
