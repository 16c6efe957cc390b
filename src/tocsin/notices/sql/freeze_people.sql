-- Who of an exposure is told in which words through which provider, and which accounts share a mailbox, into a table of this transaction.
-- Rows: one per exposed subject (24 million). Reads incidents_exposedsubject by exposure and subjects_contact by subject (hash joins), and
-- subjects_subject only if waves are asked for; one sort by mailbox. No locks but those of reading.
-- `told_with`: the lowest subject at the same mailbox under the same variant. Of accounts at one mailbox the earliest rank, the latest
-- activity and every lock count for the recipient.
CREATE TEMP TABLE notices_freezing ON COMMIT DROP AS
SELECT p.subject, p.variant,
       CASE WHEN p.mailbox IS NULL THEN %(letter_lane)s ELSE p.provider END AS provider,
       CASE WHEN p.mailbox IS NULL THEN p.subject ELSE min(p.subject) OVER same END AS told_with,
       CASE WHEN p.mailbox IS NULL THEN p.rank ELSE min(p.rank) OVER same END AS rank,
       CASE WHEN p.mailbox IS NULL THEN p.locked ELSE bit_or(p.locked) OVER same END AS locked,
       CASE WHEN p.mailbox IS NULL THEN p.active_date ELSE max(p.active_date) OVER same END AS active_date
FROM (
    SELECT e.subject_id AS subject, coalesce(v.variant, %(default_variant)s) AS variant, c.lookup AS mailbox, c.provider,
           coalesce(o.rank, 0) AS rank, coalesce(o.locked, 0) AS locked, s.last_active_date AS active_date
    FROM incidents_exposedsubject e
    JOIN incidents_cohort k ON k.id = e.cohort_id
    LEFT JOIN unnest(%(jurisdictions)s::text[], %(variants)s::bigint[]) AS v (jurisdiction, variant) ON v.jurisdiction = k.jurisdiction
    LEFT JOIN unnest(%(cohorts)s::bigint[], %(ranks)s::int[], %(locks)s::bigint[]) AS o (cohort, rank, locked) ON o.cohort = k.id
    LEFT JOIN subjects_contact c ON c.subject_id = e.subject_id AND c.kind = 'email' AND c.rank = 0
    LEFT JOIN subjects_subject s ON %(waves)s AND s.id = e.subject_id
    WHERE e.exposure_id = %(exposure)s
) p
WINDOW same AS (PARTITION BY p.mailbox, p.variant)
