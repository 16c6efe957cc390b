-- The counts of a mailing by lane. Reads each block's row once (24,000 at most), by notices_batch_mailing.
SELECT l.id, l.provider, l.rate_per_s, l.connections, coalesce(sum(b.n), 0)::bigint, coalesce(sum(b.n - bit_count(b.tried)), 0)::bigint,
       coalesce(sum(b.handed_over), 0)::bigint, coalesce(sum(b.deferred), 0)::bigint, coalesce(sum(b.bounced), 0)::bigint,
       coalesce(sum(b.letters), 0)::bigint, coalesce(sum(bit_count(b.doubted)), 0)::bigint,
       count(*) FILTER (WHERE b.state = 'open' AND b.connections > 0 AND b.lease_until > clock_timestamp()),
       coalesce(sum(b.connections) FILTER (WHERE b.state = 'open' AND b.lease_until > clock_timestamp()), 0)::int,
       coalesce(sum(b.n) FILTER (WHERE b.state = 'open' AND b.locked > 0), 0)::bigint, l.messages_per_connection
FROM notices_lane l LEFT JOIN notices_batch b ON b.lane_id = l.id
WHERE l.mailing_id = %(mailing)s
GROUP BY l.id ORDER BY l.id
