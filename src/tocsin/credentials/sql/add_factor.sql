-- Add a factor to the account of a fresh session (function of migration 0011). 1 row: the account, or NULL.
SELECT credentials_add_factor(%(sid)s, %(cls)s, %(secret)s, %(handle)s, %(label)s, %(sign_count)s, %(step)s, %(at)s, %(oldest)s)
