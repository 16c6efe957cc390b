-- Cut all accounts into ranges of ids, the ledger of one erasure. 480 rows at 24 million; safe to repeat.
INSERT INTO credentials_erasure (cutover_id, first_account, last_account, erased, held, state, attempt, fence, lease_until)
SELECT %(cutover)s, first, first + %(rows)s - 1, 0, 0, 'open', 0, 0, 'epoch'::timestamptz
FROM (SELECT min(id) AS low, max(id) AS high FROM credentials_account) ids, generate_series(ids.low, ids.high, %(rows)s) AS first
ON CONFLICT DO NOTHING
