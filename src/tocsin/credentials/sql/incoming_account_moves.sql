-- A customer whose address changed since the last import signs in with the new one. Few rows; index: credentials_account (population, subject).
UPDATE credentials_account a SET login_hmac = i.login_hmac
FROM credentials_incoming i
WHERE i.fault IS NULL AND a.population_id = %(population)s AND a.subject = i.subject AND a.login_hmac <> i.login_hmac
