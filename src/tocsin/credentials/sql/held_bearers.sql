-- The live bearer tokens of an account, newest first. At most 150 rows (50 of a class); index on bearer.account.
SELECT id, class, label, created_at, expires_at, last_used FROM credentials_live_bearer WHERE account_id = %(account)s AND expires_at > %(at)s
ORDER BY created_at DESC, id DESC
