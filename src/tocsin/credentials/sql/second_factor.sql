-- Whether an account has a second factor that still counts. 1 row, by the index of the factors on their account.
SELECT EXISTS (SELECT FROM credentials_live_factor WHERE account_id = %(account)s AND class IN ('totp', 'passkey'))
