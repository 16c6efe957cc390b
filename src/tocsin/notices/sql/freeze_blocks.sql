-- The blocks of a mailing: up to block_rows recipients of one lane and one variant, in the order of their ids, with their hash.
-- Rows: one per 1,000 recipients (24,000). Reads notices_freezing once, sorts it by lane, variant and subject.
INSERT INTO notices_batch (mailing_id, lane_id, variant_id, n, subjects, sha256, state, attempt, lease_until, fence,
                           tried, doubted, handed_over, deferred, bounced, letters, connections, unsettled)
SELECT %(mailing)s, b.lane, b.variant, b.n, b.subjects, b.sha256, 'open', 0, '1970-01-01T00:00:00Z', 0, '', '', 0, 0, 0, 0, 0, '[]'
FROM (
    SELECT lane, variant, block, count(*) AS n, array_agg(subject ORDER BY subject) AS subjects,
           sha256(string_agg(int8send(subject), ''::bytea ORDER BY subject)) AS sha256
    FROM (
        SELECT f.lane, f.variant, f.subject,
               (row_number() OVER (PARTITION BY f.lane, f.variant ORDER BY f.subject) - 1) / %(block_rows)s AS block
        FROM (
            SELECT coalesce(own.id, other.id) AS lane, p.variant, p.subject
            FROM notices_freezing p
            LEFT JOIN notices_lane own ON own.mailing_id = %(mailing)s AND own.provider = p.provider
            LEFT JOIN notices_lane other ON other.mailing_id = %(mailing)s AND other.provider = %(other_lane)s
            WHERE p.told_with = p.subject
        ) f
    ) placed
    GROUP BY lane, variant, block
) b
ORDER BY b.block, b.lane, b.variant
