-- A lot of accounts that wait for a code by post, the oldest first. Locks these rows, skipping those another export has. Rows: at most
-- `rows`. Index: credentials_letter_waiting.
SELECT l.id, l.account_id, a.subject
FROM credentials_letterrequest l JOIN credentials_account a ON a.id = l.account_id
WHERE l.printed_at IS NULL AND l.id > %(after)s
ORDER BY l.id LIMIT %(rows)s FOR UPDATE OF l SKIP LOCKED
