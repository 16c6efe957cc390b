-- How many people stand in each cohort of a frozen exposure. Rows: hundreds.
SELECT cohort_id, count(*) FROM incidents_exposedsubject WHERE exposure_id = %(exposure)s GROUP BY cohort_id
