-- Freeze who is exposed: one row per person whose (jurisdiction, holding profile) belongs to a cohort.
-- Rows: up to all subjects (24 million); one sequential scan of subjects_subject hashed against the groups (at most some 100,000), rows in
-- the order of that scan, so that the primary key grows at its end. The caller holds subjects_subject in SHARE mode: the cube that made the
-- cohorts and this statement see the same people.
INSERT INTO incidents_exposedsubject (exposure_id, subject_id, cohort_id)
SELECT %(exposure)s, s.id, g.cohort
FROM unnest(%(jurisdictions)s::text[], %(holdings)s::bigint[], %(cohorts)s::bigint[]) AS g (jurisdiction, holding, cohort)
JOIN subjects_subject s ON s.jurisdiction = g.jurisdiction AND s.holding_id = g.holding
