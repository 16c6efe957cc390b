-- Letters that go out after all (an address was mended, another one is known): their recipients count as letters again.
-- Index: notices_exception_place. Rows: at most those of `letters`.
WITH moved AS (
    UPDATE notices_exception x SET state = 'letter' FROM notices_letter l
    WHERE l.id = ANY(%(letters)s::bigint[]) AND x.batch_id = l.batch_id AND x.place = l.place AND x.state = 'bounced'
    RETURNING x.batch_id
)
UPDATE notices_batch b SET bounced = b.bounced - m.n, letters = b.letters + m.n
FROM (SELECT batch_id, count(*) AS n FROM moved GROUP BY batch_id) m WHERE b.id = m.batch_id
