-- A live passkey by its own id, with what a session opened by it will carry (function of migration 0011). 0 or 1 row, by a unique index.
SELECT id, account_id, population, secret, sign_count, last_step, session_epoch, version FROM credentials_passkey(%(handle)s)
