-- Sum up the tally once it has more than %(rows)s rows. Safe at any time and from several processes: each row is taken out by one of them and
-- comes back in its sum, in one statement; rows that others are just adding are not seen and stay. One pass over some thousand rows.
WITH gone AS (
  DELETE FROM support_tally WHERE (SELECT count(*) FROM support_tally) > %(rows)s
  RETURNING received, urgent_received, answered, bulk_answered, set_aside)
INSERT INTO support_tally (received, urgent_received, answered, bulk_answered, set_aside)
SELECT sum(received), sum(urgent_received), sum(answered), sum(bulk_answered), sum(set_aside) FROM gone HAVING count(*) > 0
