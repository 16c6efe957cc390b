-- Who of an exposure is told in which words through which provider, and which accounts share a mailbox, into a table of this transaction.
-- Rows: one per exposed subject (24 million). Reads incidents_exposedsubject by exposure and subjects_contact by subject (hash joins);
-- one sort by mailbox. No locks but those of reading. `told_with`: the lowest subject at the same mailbox under the same variant.
CREATE TEMP TABLE notices_freezing ON COMMIT DROP AS
SELECT p.subject, p.variant,
       CASE WHEN p.mailbox IS NULL THEN %(letter_lane)s ELSE p.provider END AS provider,
       CASE WHEN p.mailbox IS NULL THEN p.subject ELSE min(p.subject) OVER (PARTITION BY p.mailbox, p.variant) END AS told_with
FROM (
    SELECT e.subject_id AS subject, coalesce(v.variant, %(default_variant)s) AS variant, c.lookup AS mailbox, c.provider
    FROM incidents_exposedsubject e
    JOIN incidents_cohort k ON k.id = e.cohort_id
    LEFT JOIN unnest(%(jurisdictions)s::text[], %(variants)s::bigint[]) AS v (jurisdiction, variant) ON v.jurisdiction = k.jurisdiction
    LEFT JOIN subjects_contact c ON c.subject_id = e.subject_id AND c.kind = 'email' AND c.rank = 0
    WHERE e.exposure_id = %(exposure)s
) p
