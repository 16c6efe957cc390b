-- A reset link that would work now. 0 or 1 row, by primary key.
SELECT account_id, context, expires_at, population FROM credentials_live_resettoken WHERE token_sha256 = %(token)s AND expires_at > %(at)s
