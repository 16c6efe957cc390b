-- People by jurisdiction and holding profile: what an incident is scoped from. Index-only on subjects_subject_cube; rows: thousands.
SELECT jurisdiction, holding_id, count(*) FROM subjects_subject GROUP BY 1, 2 ORDER BY 1, 2
