-- A lot of people who got no mail and have a postal address: they get a letter. Locks these exception rows, skipping those another call has.
-- Index: notices_exception_state_ix; subjects_contact by subject. Rows: at most `rows`.
WITH lot AS (
    SELECT x.id FROM notices_exception x
    WHERE x.mailing_id = %(mailing)s AND x.state = 'bounced'
      AND EXISTS (SELECT 1 FROM subjects_contact c WHERE c.subject_id = x.subject AND c.kind IN ('verified', 'billing', 'shipping'))
    ORDER BY x.id LIMIT %(rows)s FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE notices_exception x SET state = 'letter' FROM lot WHERE x.id = lot.id RETURNING x.batch_id, x.place, x.subject
), counted AS (
    UPDATE notices_batch b SET bounced = b.bounced - m.n, letters = b.letters + m.n
    FROM (SELECT batch_id, count(*) AS n FROM moved GROUP BY batch_id) m WHERE b.id = m.batch_id
)
INSERT INTO notices_letter (mailing_id, batch_id, place, subject, queued_at)
SELECT %(mailing)s, batch_id, place, subject, %(at)s FROM moved RETURNING subject
