-- The live sessions of an account, newest first. At most 100 rows; index on session.account.
SELECT encode(sid_sha256, 'hex'), created_at FROM credentials_live_session WHERE account_id = %(account)s AND created_at > %(oldest)s
ORDER BY created_at DESC LIMIT 100
