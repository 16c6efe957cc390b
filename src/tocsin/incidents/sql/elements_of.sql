-- What was reached of each of these people in one exposure. Rows: one per id asked for; index: primary key of incidents_exposedsubject.
SELECT e.subject_id, k.clear, k.sealed
FROM incidents_exposedsubject e JOIN incidents_cohort k ON k.id = e.cohort_id
WHERE e.exposure_id = %(exposure)s AND e.subject_id = ANY(%(subjects)s::bigint[])
