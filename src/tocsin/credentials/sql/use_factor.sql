-- Accept a factor once: its step must be later than the last accepted one (function of migration 0011). 1 row; locks the factor's row.
SELECT credentials_use_factor(%(account)s, %(id)s, %(step)s, %(sign_count)s, %(at)s)
