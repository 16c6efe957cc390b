-- Give a cohort the epochs of another one, all classes, if it has none yet (function of migration 0100). 9 rows at most.
SELECT credentials_new_cohort(%(population)s, %(cohort)s::smallint, %(source)s::smallint)
