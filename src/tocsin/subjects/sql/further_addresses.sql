-- Further e-mail addresses of people, still sealed: of each the one of the rank asked for. Rows: at most one per person; primary key of
-- subjects_contact.
SELECT w.subject, w.rank, c.sealed
FROM unnest(%(subjects)s::bigint[], %(ranks)s::smallint[]) AS w (subject, rank)
JOIN subjects_contact c ON c.subject_id = w.subject AND c.kind = 'email' AND c.rank = w.rank
