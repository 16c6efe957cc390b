-- Move one batch from staging into the register. Known people are updated and keep their salt; their contact points are replaced whole.
-- Rows: one batch (20,000) and its contact points. Locks the rows of known people.
UPDATE subjects_subject s
SET jurisdiction = i.jurisdiction, basis = i.basis, locale = i.locale, holding_id = i.holding, name_sealed = i.name_sealed,
    salt = coalesce(s.salt, i.salt)
FROM subjects_incoming i WHERE i.known AND s.id = i.id;
DELETE FROM subjects_contact c USING subjects_incoming i WHERE i.known AND c.subject_id = i.id;
INSERT INTO subjects_subject (id, external_id, jurisdiction, basis, locale, holding_id, salt, name_sealed, created_at)
SELECT id, external_id, jurisdiction, basis, locale, holding, salt, name_sealed, %(at)s FROM subjects_incoming WHERE NOT known;
INSERT INTO subjects_contact (subject_id, kind, rank, sealed, lookup, provider)
SELECT subject, kind, rank, sealed, lookup, provider FROM subjects_incoming_contact;
INSERT INTO subjects_seen SELECT external_id FROM subjects_incoming;
TRUNCATE subjects_incoming, subjects_incoming_contact
