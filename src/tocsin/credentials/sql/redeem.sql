-- Spend a link, set the password, make the log's entry and the letter's job, and put the password into the outbox for each target of the
-- company's own (functions of migrations 0003 and 0061). 0 or 1 row; locks the token's row and the credential's.
SELECT version, epoch FROM credentials_redeem_to(%(token)s, %(hash)s, %(at)s, %(outbox)s::jsonb)
