-- The blocks of a mailing: up to block_rows recipients of one lane, one variant and the same locks, with their hash. Blocks, and so their ids,
-- in the order in which people are told: rank of the cohort (deadline, then severity), then last activity, most recent first and unknown
-- last, then the subject's id. Inside a block the order is that of the ids.
-- Rows: one per 1,000 recipients (24,000). Reads notices_freezing once, sorts it by lane, variant, lock and that order.
INSERT INTO notices_batch (mailing_id, lane_id, variant_id, n, subjects, sha256, state, attempt, lease_until, fence,
                           tried, doubted, handed_over, deferred, bounced, letters, connections, unsettled, locked)
SELECT %(mailing)s, b.lane, b.variant, b.n, b.subjects, b.sha256, 'open', 0, '1970-01-01T00:00:00Z', 0, '', '', 0, 0, 0, 0, 0, '[]', b.locked
FROM (
    SELECT lane, variant, locked, block, count(*) AS n, array_agg(subject ORDER BY subject) AS subjects, min(rank) AS rank,
           max(active_date) AS active_date, sha256(string_agg(int8send(subject), ''::bytea ORDER BY subject)) AS sha256
    FROM (
        SELECT f.lane, f.variant, f.locked, f.rank, f.active_date, f.subject,
               (row_number() OVER (PARTITION BY f.lane, f.variant, f.locked
                                   ORDER BY f.rank, f.active_date DESC NULLS LAST, f.subject) - 1) / %(block_rows)s AS block
        FROM (
            SELECT coalesce(own.id, other.id) AS lane, p.variant, p.locked, p.rank, p.active_date, p.subject
            FROM notices_freezing p
            LEFT JOIN notices_lane own ON own.mailing_id = %(mailing)s AND own.provider = p.provider
            LEFT JOIN notices_lane other ON other.mailing_id = %(mailing)s AND other.provider = %(other_lane)s
            WHERE p.told_with = p.subject
        ) f
    ) placed
    GROUP BY lane, variant, locked, block
) b
ORDER BY b.rank, b.active_date DESC NULLS LAST, b.block, b.lane, b.variant, b.locked
