-- What receivers said to those who were not told at once, by lane, state and reply, the most frequent first; one example text of each, which
-- holds no address. Reads the exceptions of a mailing once (some per cent of its recipients), by notices_exception_state_ix.
SELECT l.provider, x.state, x.code, x.enhanced, count(*)::bigint, max(x.text), max(x.tried_at)
FROM notices_exception x JOIN notices_batch b ON b.id = x.batch_id JOIN notices_lane l ON l.id = b.lane_id
WHERE x.mailing_id = %(mailing)s AND x.code > 0
GROUP BY l.provider, x.state, x.code, x.enhanced ORDER BY count(*) DESC, l.provider, x.state, x.code LIMIT %(rows)s
