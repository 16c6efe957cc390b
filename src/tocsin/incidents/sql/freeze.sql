-- Freeze who is exposed: one row per person of a touched holding profile, by (jurisdiction, profile) -> cohort.
-- Rows: up to the whole register (24 million: about 20 s). Hash join of subjects_subject with a table of thousands; locks nothing but
-- what it writes.
INSERT INTO incidents_exposedsubject (exposure_id, subject_id, cohort_id)
SELECT %(exposure)s, s.id, m.cohort
FROM subjects_subject s
JOIN unnest(%(jurisdictions)s::text[], %(holdings)s::bigint[], %(cohorts)s::bigint[]) AS m (jurisdiction, holding, cohort)
  ON m.jurisdiction = s.jurisdiction AND m.holding = s.holding_id
