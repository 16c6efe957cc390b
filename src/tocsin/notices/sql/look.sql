-- How the mailing and an unlimited lane stand: reads two rows by primary key, and the receiver's few; writes nothing. A pause of the receiver
-- counts whoever it was said to: another mailing, or a single mail.
SELECT l.tokens,
       CASE WHEN EXISTS (SELECT 1 FROM mail_receiver r WHERE r.receiver = l.provider AND r.held_rate_per_s = 0 AND r.held_until > clock_timestamp())
            THEN 0 WHEN l.held_until > clock_timestamp() THEN least(l.rate_per_s, l.held_rate_per_s) ELSE l.rate_per_s END, m.state
FROM notices_lane l JOIN notices_mailing m ON m.id = l.mailing_id WHERE l.id = %(lane)s
