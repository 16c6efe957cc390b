-- How the mailing and an unlimited lane stand: reads two rows by primary key, writes nothing.
SELECT l.tokens, CASE WHEN l.held_until > clock_timestamp() THEN least(l.rate_per_s, l.held_rate_per_s) ELSE l.rate_per_s END, m.state
FROM notices_lane l JOIN notices_mailing m ON m.id = l.mailing_id WHERE l.id = %(lane)s
