-- Take gates that have opened off the blocks of a mailing. Rows: the blocks of some places (hundreds); locks them. Index: notices_batch_mailing.
UPDATE notices_batch SET locked = locked & ~%(bits)s::bigint WHERE mailing_id = %(mailing)s AND state = 'open' AND locked & %(bits)s::bigint <> 0
