-- Spend a link, set the password, make the log's entry and the letter's job (function of migration 0003). 0 or 1 row; locks the token's
-- row and the credential's.
SELECT version, epoch FROM credentials_redeem(%(token)s, %(hash)s, %(at)s)
