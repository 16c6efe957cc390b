-- Renew hashes that an earlier import brought; a password its owner has set (version > 0) stays. Up to 50,000 rows; index: primary key.
UPDATE credentials_credential c SET hash = i.hash, set_at = %(at)s
FROM credentials_incoming i
JOIN credentials_account a ON a.population_id = %(population)s AND a.subject = i.subject
WHERE i.fault IS NULL AND c.account_id = a.id AND c.class = 'password' AND c.version = 0
