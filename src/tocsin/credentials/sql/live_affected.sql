-- The answer that a link leads to. 0 or 1 row, by primary key.
SELECT answer, created_at, expires_at FROM credentials_live_affectedanswer WHERE token_sha256 = %(token)s AND expires_at > %(at)s
