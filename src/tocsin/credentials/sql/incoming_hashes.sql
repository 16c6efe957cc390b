-- Renew hashes that an earlier import brought; a password its owner has set (version > 0) stays, and what is being erased stays empty.
-- Up to 50,000 rows; index: primary key.
UPDATE credentials_credential c SET hash = i.hash, set_at = i.set_at
FROM credentials_incoming i
JOIN credentials_account a ON a.population_id = %(population)s AND a.subject = i.subject
WHERE i.fault IS NULL AND c.account_id = a.id AND c.class = 'password' AND c.version = 0
  AND NOT EXISTS (SELECT 1 FROM credentials_cutover k WHERE k.population_id = a.population_id AND k.erasing_at IS NOT NULL AND 'password' = ANY (k.classes)
                  AND k.from_epochs ? (a.cohort || '/password') AND c.epoch < k.to_epoch)
