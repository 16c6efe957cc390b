-- The live factors of an account, without their secrets. At most 31 rows; index on factor.account.
SELECT id, class, label, created_at, last_used, handle FROM credentials_live_factor WHERE account_id = %(account)s ORDER BY created_at, id
