-- Debit a receiver's bucket for what was sent to it. One row, its lock for the transaction. The bucket holds at most one second's worth.
UPDATE mail_receiver SET
    tokens = least(greatest(1, %(rate)s), tokens + %(rate)s * greatest(0, extract(epoch FROM clock_timestamp() - refilled_at))::float8) - %(n)s,
    refilled_at = clock_timestamp()
WHERE source = %(source)s AND receiver = %(receiver)s
RETURNING tokens
