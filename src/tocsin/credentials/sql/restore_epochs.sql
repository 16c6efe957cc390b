-- The abort: back to the epochs before. `highest` stays: the number is spent, and what was made meanwhile falls with the next cutover.
UPDATE credentials_epoch
SET epoch = (%(from_epochs)s::jsonb ->> (cohort || '/' || class))::int, not_before = NULL, state = 'aborted'
WHERE population_id = %(population)s AND class = ANY(%(classes)s) AND (%(cohort)s::smallint IS NULL OR cohort = %(cohort)s::smallint)
  AND epoch = %(to_epoch)s AND %(from_epochs)s::jsonb ? (cohort || '/' || class)
