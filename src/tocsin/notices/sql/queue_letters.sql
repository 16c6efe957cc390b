-- A lot of people whom no mail reaches: every e-mail address has failed, and they, or an account told with theirs, have a postal address.
-- They get a letter. Locks these exception rows, skipping those another call has.
-- Indexes: notices_exception_state_ix, notices_letter_place, notices_merged_told_with, primary key of subjects_contact. Rows: at most `rows`.
WITH lot AS (
    SELECT x.id, t.subject
    FROM notices_exception x
    CROSS JOIN LATERAL (
        SELECT a.subject FROM (
            SELECT x.subject, 0 AS place UNION ALL
            SELECT m.subject, 1 FROM notices_merged m WHERE m.mailing_id = x.mailing_id AND m.told_with = x.subject
        ) a
        WHERE EXISTS (SELECT 1 FROM subjects_contact c WHERE c.subject_id = a.subject AND c.kind IN ('verified', 'billing', 'shipping'))
        ORDER BY a.place, a.subject LIMIT 1
    ) t
    WHERE x.mailing_id = %(mailing)s AND x.state = 'bounced'
      AND NOT EXISTS (SELECT 1 FROM subjects_contact c WHERE c.subject_id = x.subject AND c.kind = 'email' AND c.rank > x.rank
                      AND x.rank < %(rank_max)s)
      AND NOT EXISTS (SELECT 1 FROM notices_letter l WHERE l.batch_id = x.batch_id AND l.place = x.place)
    ORDER BY x.id LIMIT %(rows)s FOR UPDATE OF x SKIP LOCKED
), moved AS (
    UPDATE notices_exception x SET state = 'letter' FROM lot WHERE x.id = lot.id RETURNING x.batch_id, x.place, lot.subject
), counted AS (
    UPDATE notices_batch b SET bounced = b.bounced - m.n, letters = b.letters + m.n
    FROM (SELECT batch_id, count(*) AS n FROM moved GROUP BY batch_id) m WHERE b.id = m.batch_id
)
INSERT INTO notices_letter (mailing_id, batch_id, place, subject, queued_at)
SELECT %(mailing)s, batch_id, place, subject, %(at)s FROM moved RETURNING subject
