-- Spend a link, set the password, make the log's entry and the letter's job, put the password into the outbox for each target of the company's
-- own (functions of migrations 0003 and 0061), and forget the wrong passwords that strangers tried (0041): one statement, so together or not
-- at all. 0 or 1 row; locks the token's row, the credential's and the tries'.
SELECT r.version, r.epoch, credentials_forget_tries_of(%(token)s, %(at)s)
FROM credentials_redeem_to(%(token)s, %(hash)s, %(at)s, %(outbox)s::jsonb) r
