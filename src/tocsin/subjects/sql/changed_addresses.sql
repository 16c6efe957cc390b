-- Keep the e-mail addresses of a batch that are others now, as they were sealed. Rows: one batch (20,000) at most; index: primary key of
-- subjects_contact.
INSERT INTO subjects_contactchange (subject_id, kind, sealed, lookup, provider, changed_at, changed_by, by)
SELECT b.subject_id, 'email', b.sealed, b.lookup, b.provider, %(at)s, 'import', %(by)s
FROM subjects_before b
LEFT JOIN subjects_contact n ON n.subject_id = b.subject_id AND n.kind = 'email' AND n.rank = 0
WHERE n.lookup IS DISTINCT FROM b.lookup
