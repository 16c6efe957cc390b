-- People with a postal address, still sealed, the best kind of address first. Rows: one per id asked for.
SELECT DISTINCT ON (s.id) s.id, s.external_id, s.name_sealed, c.kind, c.sealed, s.locale
FROM subjects_subject s JOIN subjects_contact c ON c.subject_id = s.id AND c.kind IN ('verified', 'billing', 'shipping')
WHERE s.id = ANY(%(subjects)s::bigint[]) AND s.name_sealed IS NOT NULL
ORDER BY s.id, array_position(ARRAY['verified', 'billing', 'shipping'], c.kind), c.rank
