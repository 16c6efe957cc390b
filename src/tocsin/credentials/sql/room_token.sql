-- A reset link that would work now, with the place it carries, and whether its account has a second factor that still counts. 0 or 1 row, by two
-- primary keys and the index of the factors on their account; locks nothing.
SELECT EXISTS (SELECT FROM credentials_live_factor f WHERE f.account_id = t.account_id AND f.class IN ('totp', 'passkey')), p.ms, p.nonce, p.lane
FROM credentials_live_resettoken t LEFT JOIN credentials_roomplace p ON p.token_sha256 = t.token_sha256
WHERE t.token_sha256 = %(token)s AND t.expires_at > %(at)s
