-- Add the hashes that are new, of epoch 1: after a cutover they are dead on arrival, and empty once the erasure of its dead hashes has begun:
-- what comes later would lie there for ever. Up to 50,000 rows; index: primary key.
INSERT INTO credentials_credential (account_id, class, epoch, version, hash, set_at)
SELECT a.id, 'password', 1, 0,
  CASE WHEN EXISTS (SELECT 1 FROM credentials_cutover k WHERE k.population_id = a.population_id AND k.erasing_at IS NOT NULL AND 'password' = ANY (k.classes)
                    AND k.from_epochs ? (a.cohort || '/password')) THEN '' ELSE i.hash END,
  i.set_at
FROM credentials_incoming i
JOIN credentials_account a ON a.population_id = %(population)s AND a.subject = i.subject
WHERE i.fault IS NULL
ON CONFLICT DO NOTHING
