-- People with an e-mail address, still sealed. Rows: one per id asked for; indexes: primary key, that of subjects_contact.
SELECT s.id, s.salt, s.external_id, c.sealed, s.name_sealed, s.locale, c.provider, s.jurisdiction
FROM subjects_subject s JOIN subjects_contact c ON c.subject_id = s.id AND c.kind = 'email' AND c.rank = 0
WHERE s.id = ANY(%(subjects)s::bigint[]) AND s.salt IS NOT NULL
