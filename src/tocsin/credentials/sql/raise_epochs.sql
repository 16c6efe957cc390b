-- The cutover itself: 1 row per cohort and class. Locks these rows against each other cutover; no reader waits.
UPDATE credentials_epoch
SET epoch = %(to_epoch)s, highest = %(to_epoch)s, not_before = %(at)s, incident = %(incident)s, state = 'committed'
WHERE population_id = %(population)s AND class = ANY(%(classes)s) AND (%(cohort)s::smallint IS NULL OR cohort = %(cohort)s::smallint)
  AND NOT cohort = ANY(%(spared)s::smallint[]) AND highest < %(to_epoch)s
