-- People two exposures tell apart, by jurisdiction: added, removed, or with other elements, state or jurisdiction.
-- Rows: jurisdictions, at most some hundreds. Merge join over both primary keys; cohorts are few and hashed.
SELECT coalesce(kb.jurisdiction, ka.jurisdiction) AS jurisdiction,
       count(*) FILTER (WHERE a.subject_id IS NULL),
       count(*) FILTER (WHERE b.subject_id IS NULL),
       count(*) FILTER (WHERE (ka.jurisdiction, ka.clear, ka.sealed, ka.state) <> (kb.jurisdiction, kb.clear, kb.sealed, kb.state))
FROM (SELECT subject_id, cohort_id FROM incidents_exposedsubject WHERE exposure_id = %(old)s) a
FULL JOIN (SELECT subject_id, cohort_id FROM incidents_exposedsubject WHERE exposure_id = %(new)s) b USING (subject_id)
LEFT JOIN incidents_cohort ka ON ka.id = a.cohort_id
LEFT JOIN incidents_cohort kb ON kb.id = b.cohort_id
GROUP BY 1 ORDER BY 1
