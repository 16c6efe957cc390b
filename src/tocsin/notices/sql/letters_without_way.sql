-- Letters that cannot go out or came back: their recipients are bounced again, until another letter or the substitute notice takes over.
-- The letters' own rows are written by the caller in the same transaction. Index: notices_exception_place. Rows: at most those of `letters`.
WITH moved AS (
    UPDATE notices_exception x SET state = 'bounced' FROM notices_letter l
    WHERE l.id = ANY(%(letters)s::bigint[]) AND x.batch_id = l.batch_id AND x.place = l.place AND x.state = 'letter'
    RETURNING x.batch_id
)
UPDATE notices_batch b SET letters = b.letters - m.n, bounced = b.bounced + m.n
FROM (SELECT batch_id, count(*) AS n FROM moved GROUP BY batch_id) m WHERE b.id = m.batch_id
