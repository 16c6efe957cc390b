-- Spend a link and set the password (function of migration 0002). 0 or 1 row; locks the token's row and the credential's.
SELECT account_id, subject, salt, incident, version, epoch FROM credentials_redeem(%(token)s, %(hash)s, %(at)s)
