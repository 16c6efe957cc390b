-- Whether an account has a second factor that still counts. 1 row, by the primary key of the credentials.
SELECT EXISTS (SELECT FROM credentials_live_credential WHERE account_id = %(account)s AND class IN ('totp', 'passkey'))
