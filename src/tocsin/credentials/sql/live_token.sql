-- A reset link that would work now, and whether its account has a second factor that still counts. 0 or 1 row, by primary key and by the index
-- of the factors on their account; locks nothing.
SELECT t.account_id, t.context, t.expires_at,
  EXISTS (SELECT FROM credentials_live_factor f WHERE f.account_id = t.account_id AND f.class IN ('totp', 'passkey'))
FROM credentials_live_resettoken t WHERE t.token_sha256 = %(token)s AND t.expires_at > %(at)s
