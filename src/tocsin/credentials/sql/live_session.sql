-- A session that is still good. 0 or 1 row, by primary key.
SELECT account_id, subject, created_at FROM credentials_live_session WHERE sid_sha256 = %(sid)s AND created_at > %(oldest)s
