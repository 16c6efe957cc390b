-- At the start, or when the last gate of a block opens: the blocks of people without an e-mail address are done at once; each place counts as bounced until a letter is queued.
-- Rows: one per 1,000 such people. Index: notices_batch_mailing. `tried` gets one bit per place (`policy`), 1,000 at most.
UPDATE notices_batch SET state = 'done', bounced = n, sent_at = %(at)s,
    tried = decode(repeat('ff', n / 8) || CASE n %% 8 WHEN 0 THEN '' ELSE lpad(to_hex((1 << n %% 8) - 1), 2, '0') END, 'hex')
WHERE mailing_id = %(mailing)s AND state = 'open' AND locked = 0
  AND lane_id = (SELECT id FROM notices_lane WHERE mailing_id = %(mailing)s AND provider = %(letter_lane)s)
