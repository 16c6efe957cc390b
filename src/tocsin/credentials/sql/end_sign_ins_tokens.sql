-- End the bearer tokens of an account whose row the caller holds FOR UPDATE. At most 150 live rows; index on bearer.account.
UPDATE credentials_bearer SET revoked_at = %(at)s WHERE account_id = %(account)s AND revoked_at IS NULL
