-- Debit a lane's bucket for what was sent since the last call, and learn how the mailing and the lane stand. One row, its lock for an instant.
-- The bucket holds at most one second's worth; it may go below zero by what senders had in hand, and is waited for then. The rate is the
-- allowed one, or the lower one that receivers asked for, as long as that holds; 0 while the receiver told anybody of us to stop.
UPDATE notices_lane SET
    tokens = least(r.rate, tokens + r.rate * greatest(0, extract(epoch FROM clock_timestamp() - refilled_at))::float8) - %(sent)s,
    refilled_at = clock_timestamp()
FROM (SELECT CASE WHEN EXISTS (SELECT 1 FROM mail_receiver x WHERE x.receiver = l.provider AND x.held_rate_per_s = 0
                               AND x.held_until > clock_timestamp()) THEN 0
                  WHEN held_until > clock_timestamp() THEN least(rate_per_s, held_rate_per_s) ELSE rate_per_s END AS rate
      FROM notices_lane l WHERE id = %(lane)s) r
WHERE id = %(lane)s
RETURNING tokens, r.rate, (SELECT state FROM notices_mailing WHERE id = mailing_id)
