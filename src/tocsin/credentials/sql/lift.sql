-- Writes: the present password epoch of accounts that got a new password in a target. Rows: as many as `accounts`, up to 10,000.
-- Index: credentials_account_subject, primary keys. Lock: the written rows. Idempotent; an epoch never falls.
INSERT INTO credentials_lift AS l (account_id, epoch, source, lifted_at)
SELECT a.id, e.epoch, %(source)s, %(at)s
FROM credentials_account a
JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'password'
JOIN credentials_population p ON p.id = a.population_id AND p.name = %(population)s
WHERE a.subject = ANY(%(subjects)s)
ON CONFLICT (account_id) DO UPDATE SET epoch = excluded.epoch, source = excluded.source, lifted_at = excluded.lifted_at
WHERE l.epoch < excluded.epoch
