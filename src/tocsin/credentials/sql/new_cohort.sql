-- Give a cohort the epochs of another one, all classes, if it has none yet. 9 rows at most.
INSERT INTO credentials_epoch (population_id, cohort, class, epoch, highest, not_before, incident, state)
SELECT population_id, %(cohort)s, class, epoch, highest, not_before, incident, state
FROM credentials_epoch WHERE population_id = %(population)s AND cohort = %(source)s
ON CONFLICT DO NOTHING
