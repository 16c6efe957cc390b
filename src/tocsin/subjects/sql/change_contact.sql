-- Put a contact point in the place of another and keep what it was. 1 row; locks it; index: primary key of subjects_contact.
WITH old AS (
  SELECT sealed, lookup, provider FROM subjects_contact WHERE subject_id = %(subject)s AND kind = %(kind)s AND rank = 0 FOR UPDATE
), kept AS (
  INSERT INTO subjects_contactchange (subject_id, kind, sealed, lookup, provider, changed_at, changed_by, by)
  SELECT %(subject)s, %(kind)s, old.sealed, old.lookup, coalesce(old.provider, ''), %(at)s, %(changed_by)s, %(by)s
  FROM (SELECT 1) one LEFT JOIN old ON true
)
INSERT INTO subjects_contact AS c (subject_id, kind, rank, sealed, lookup, provider)
VALUES (%(subject)s, %(kind)s, 0, %(sealed)s, %(lookup)s, %(provider)s)
ON CONFLICT (subject_id, kind, rank) DO UPDATE SET sealed = excluded.sealed, lookup = excluded.lookup, provider = excluded.provider
