-- Every postal address of people, still sealed, the best kind first. Rows: at most three per person.
SELECT s.id, s.external_id, s.name_sealed, c.kind, c.sealed, s.locale
FROM subjects_subject s JOIN subjects_contact c ON c.subject_id = s.id AND c.kind IN ('verified', 'billing', 'shipping')
WHERE s.id = ANY(%(subjects)s::bigint[]) AND s.name_sealed IS NOT NULL
ORDER BY s.id, array_position(ARRAY['verified', 'billing', 'shipping'], c.kind), c.rank
