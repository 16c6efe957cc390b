-- At the start, or when gates open, before the blocks are closed: one exception row for each person without an e-mail address. Index: notices_batch_mailing.
INSERT INTO notices_exception (mailing_id, batch_id, place, subject, state, code, enhanced, text, tries, tried_at)
SELECT b.mailing_id, b.id, s.place - 1, s.subject, 'bounced', 0, '', 'no e-mail address', 0, %(at)s
FROM notices_batch b CROSS JOIN LATERAL unnest(b.subjects) WITH ORDINALITY AS s (subject, place)
WHERE b.mailing_id = %(mailing)s AND b.state = 'open' AND b.locked = 0
  AND b.lane_id = (SELECT id FROM notices_lane WHERE mailing_id = %(mailing)s AND provider = %(letter_lane)s)
