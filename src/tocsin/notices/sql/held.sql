-- Connections that leases of a mailing hold now: in all, and in one lane. Index: notices_batch_open over the few open leased blocks.
SELECT coalesce(sum(connections), 0)::int, coalesce(sum(connections) FILTER (WHERE lane_id = %(lane)s), 0)::int
FROM notices_batch WHERE mailing_id = %(mailing)s AND state = 'open' AND connections > 0 AND lease_until > clock_timestamp()
