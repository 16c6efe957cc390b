-- Bring a batch of known people to what the file says now. They keep their salt unless they were forgotten; their contact points are
-- deleted here and copied in anew. Rows: one batch (20,000) at most. Locks the rows of these people.
UPDATE subjects_subject s
SET jurisdiction = i.jurisdiction, basis = i.basis, locale = i.locale, holding_id = i.holding_id, name_sealed = i.name_sealed,
    salt = coalesce(s.salt, i.salt), row_digest = i.row_digest
FROM subjects_incoming i WHERE s.id = i.id;
DELETE FROM subjects_contact c USING subjects_incoming i WHERE c.subject_id = i.id;
TRUNCATE subjects_incoming
