-- Cohorts of an exposure whose count is not the number of their rows; none, or the freeze is wrong. Reads the exposure's rows once.
SELECT k.id FROM incidents_cohort k
LEFT JOIN (
    SELECT cohort_id, count(*) AS n FROM incidents_exposedsubject WHERE exposure_id = %(exposure)s GROUP BY cohort_id
) e ON e.cohort_id = k.id
WHERE k.exposure_id = %(exposure)s AND k.count <> coalesce(e.n, 0)
