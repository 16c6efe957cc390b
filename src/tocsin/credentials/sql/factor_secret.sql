-- The live secrets of one class of one account (function of migration 0011). At most 20 rows; index on factor.account.
SELECT id, secret, last_step FROM credentials_factor_secret(%(account)s, %(cls)s)
