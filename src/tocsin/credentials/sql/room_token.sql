-- A reset link that would work now, with the place it carries. 0 or 1 row, by two primary keys; locks nothing.
SELECT t.expires_at, p.ms, p.nonce, p.lane
FROM credentials_live_resettoken t LEFT JOIN credentials_roomplace p ON p.token_sha256 = t.token_sha256
WHERE t.token_sha256 = %(token)s AND t.expires_at > %(at)s
