-- Make the accounts that are new. Up to 50,000 rows; indexes: credentials_account (population, subject) and (population, login_hmac).
INSERT INTO credentials_account (subject, population_id, cohort, login_hmac)
SELECT i.subject, %(population)s, 0, i.login_hmac FROM credentials_incoming i WHERE i.fault IS NULL
ON CONFLICT DO NOTHING
