-- Writes: passwords that never reached a target, of accounts that have one there now: no longer on their way. Rows: few. Index: the outbox's on
-- its account. Lock: the written rows.
UPDATE credentials_outbox o SET state = 'replaced', sealed = NULL
FROM credentials_account a JOIN credentials_population p ON p.id = a.population_id AND p.name = %(population)s
WHERE a.subject = ANY(%(subjects)s) AND o.account_id = a.id AND o.state = 'failed'
