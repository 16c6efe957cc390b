-- Debit a lane's bucket for what was sent since the last call, and learn how the mailing and the lane stand. One row, its lock for an instant.
-- The bucket holds at most one second's worth; it may go below zero by what senders had in hand, and is waited for then.
UPDATE notices_lane SET
    tokens = least(rate_per_s, tokens + rate_per_s * greatest(0, extract(epoch FROM clock_timestamp() - refilled_at))::float8) - %(sent)s,
    refilled_at = clock_timestamp()
WHERE id = %(lane)s
RETURNING tokens, rate_per_s, (SELECT state FROM notices_mailing WHERE id = mailing_id)
