-- Add the hashes that are new, of epoch 1: after a cutover they are dead on arrival. Up to 50,000 rows; index: primary key.
INSERT INTO credentials_credential (account_id, class, epoch, version, hash, set_at)
SELECT a.id, 'password', 1, 0, i.hash, %(at)s
FROM credentials_incoming i
JOIN credentials_account a ON a.population_id = %(population)s AND a.subject = i.subject
WHERE i.fault IS NULL
ON CONFLICT DO NOTHING
