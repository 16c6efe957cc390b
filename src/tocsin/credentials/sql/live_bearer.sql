-- A bearer token that would work now. 0 or 1 row, by the unique index on its digest.
SELECT account_id, subject, label FROM credentials_live_bearer WHERE secret_sha256 = %(secret)s AND class = %(cls)s AND expires_at > %(at)s
