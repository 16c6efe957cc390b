-- Connections that leases hold now, over every mailing: in all, and to one provider. Index: notices_batch_open over the few open leased blocks.
SELECT coalesce(sum(b.connections), 0)::int, coalesce(sum(b.connections) FILTER (WHERE l.provider = %(provider)s), 0)::int
FROM notices_batch b JOIN notices_lane l ON l.id = b.lane_id
WHERE b.state = 'open' AND b.connections > 0 AND b.lease_until > clock_timestamp()
