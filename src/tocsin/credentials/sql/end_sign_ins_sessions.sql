-- End the sessions of an account whose row the caller holds FOR UPDATE. A row per session; index on session.account.
DELETE FROM credentials_session WHERE account_id = %(account)s
