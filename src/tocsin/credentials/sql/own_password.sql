-- The live password of who holds a session. 0 or 1 row, by primary keys.
SELECT s.account_id, c.version, c.hash, c.login_hmac
FROM credentials_live_session s
JOIN credentials_live_credential c ON c.account_id = s.account_id AND c.class = 'password'
WHERE s.sid_sha256 = %(sid)s AND s.created_at > %(oldest)s
