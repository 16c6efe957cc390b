-- Bring a batch of known people to what the file says now. They keep their salt unless they were forgotten; their contact points are
-- deleted here and copied in anew; the addresses they had are put aside for `changed_addresses`. Rows: one batch (20,000) at most. Locks the
-- rows of these people.
UPDATE subjects_subject s
SET jurisdiction = i.jurisdiction, basis = i.basis, locale = i.locale, holding_id = i.holding_id, name_sealed = i.name_sealed,
    salt = coalesce(s.salt, i.salt), row_digest = i.row_digest,
    last_active_date = i.last_active_date
FROM subjects_incoming i WHERE s.id = i.id;
TRUNCATE subjects_before;
INSERT INTO subjects_before (subject_id, sealed, lookup, provider)
SELECT c.subject_id, c.sealed, c.lookup, c.provider
FROM subjects_contact c JOIN subjects_incoming i ON i.id = c.subject_id WHERE c.kind = 'email' AND c.rank = 0;
DELETE FROM subjects_contact c USING subjects_incoming i WHERE c.subject_id = i.id;
TRUNCATE subjects_incoming
