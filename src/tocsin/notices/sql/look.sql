-- How the mailing and an unlimited lane stand: reads two rows by primary key, writes nothing.
SELECT l.tokens, l.rate_per_s, m.state FROM notices_lane l JOIN notices_mailing m ON m.id = l.mailing_id WHERE l.id = %(lane)s
