-- Move one import batch from the temporary table `incoming` (n, token, fingerprint, key, sealed, expires; fingerprints distinct) into
-- vault_card. A known fingerprint keeps its token and sealed number and takes the newer expiry. One batch (thousands of rows); uses the
-- unique index on fingerprint; locks the rows of known cards.
INSERT INTO vault_card (token, fingerprint, key, sealed, expires)
SELECT token, fingerprint, key, sealed, expires FROM incoming
ON CONFLICT (fingerprint) DO UPDATE SET expires = EXCLUDED.expires WHERE vault_card.expires <> EXCLUDED.expires;
