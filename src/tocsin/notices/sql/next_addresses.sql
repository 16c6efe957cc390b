-- A lot of recipients whose mail failed and who have a further e-mail address: they wait for it in their own place of their own block.
-- Not while a sender holds the block: it would count from what it read before. The fence rises, so that a sender frozen in its lease stops.
-- Locks these exception rows and blocks, skipping those another call has. Indexes: notices_exception_state_ix, primary key of
-- subjects_contact. Rows: at most `rows`.
WITH lot AS (
    SELECT x.id, (SELECT min(c.rank) FROM subjects_contact c WHERE c.subject_id = x.subject AND c.kind = 'email' AND c.rank > x.rank) AS rank
    FROM notices_exception x JOIN notices_batch b ON b.id = x.batch_id
    WHERE x.mailing_id = %(mailing)s AND x.state = 'bounced' AND x.rank < %(rank_max)s
      AND NOT (b.state = 'open' AND b.connections > 0 AND b.lease_until > clock_timestamp())
      AND EXISTS (SELECT 1 FROM subjects_contact c WHERE c.subject_id = x.subject AND c.kind = 'email' AND c.rank > x.rank)
    ORDER BY x.batch_id, x.place LIMIT %(rows)s FOR UPDATE OF x, b SKIP LOCKED
), moved AS (
    UPDATE notices_exception x SET state = 'deferred', rank = lot.rank, tries = 0, soft = 0, tried_at = %(at)s, next_at = %(at)s
    FROM lot WHERE x.id = lot.id RETURNING x.batch_id, x.place, x.subject, x.rank
), counted AS (
    UPDATE notices_batch b SET bounced = b.bounced - m.n, deferred = b.deferred + m.n, state = 'open', fence = b.fence + 1,
        lease_owner = NULL, connections = 0, lease_until = least(b.lease_until, clock_timestamp())
    FROM (SELECT batch_id, count(*) AS n FROM moved GROUP BY batch_id) m WHERE b.id = m.batch_id
)
SELECT batch_id, place, subject, rank FROM moved
