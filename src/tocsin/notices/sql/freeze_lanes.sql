-- One lane per provider of the people frozen in this transaction; the smallest providers, beyond lanes_max, share the lane `other`.
-- Rows: at most lanes_max + 2. Reads notices_freezing once.
INSERT INTO notices_lane (mailing_id, provider, connections, messages_per_connection, rate_per_s, tokens, refilled_at, memory, held_what, held_why)
SELECT %(mailing)s, lane, %(connections)s, %(messages_per_connection)s, %(rate_per_s)s, 0, %(at)s, '{}', '', ''
FROM (
    SELECT DISTINCT CASE WHEN place <= %(lanes_max)s OR provider = %(letter_lane)s THEN provider ELSE %(other_lane)s END AS lane
    FROM (
        SELECT provider, row_number() OVER (ORDER BY count(*) DESC, provider) AS place
        FROM notices_freezing WHERE told_with = subject GROUP BY provider
    ) ranked
) lanes
