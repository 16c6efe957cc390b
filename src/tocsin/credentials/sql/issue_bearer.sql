-- Make a bearer token for the holder of a live session (function of migration 0011). 1 row; locks the account's row for KEY SHARE.
SELECT credentials_issue_bearer(%(sid)s, %(secret)s, %(cls)s, %(family)s, %(label)s, %(at)s, %(expires_at)s, %(oldest)s)
