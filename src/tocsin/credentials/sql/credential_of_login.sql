-- The live password of a login with the epoch a session made of it will carry. 0 or 1 row, by the unique index (population, login_hmac).
SELECT account_id, session_epoch, version, hash
FROM credentials_live_credential
WHERE population = %(population)s AND login_hmac = %(login)s AND class = 'password'
