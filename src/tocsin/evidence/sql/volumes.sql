-- How many events of some types there were in each time bucket, and the first of each: of one incident or of none, from an instant on.
-- The bucket is the smallest width of the list that needs at most `columns` of them. Read only. One pass over `percent` of the table's
-- blocks (the caller keeps that to a hundred thousand rows, so it takes no index and its cost has a bound); at most columns rows per type out.
WITH hit AS MATERIALIZED (
  SELECT type, at FROM evidence_event TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (1)
   WHERE type = ANY(%(types)s) AND at >= %(since)s AND (incident = %(incident)s OR incident IS NULL)
), width AS (
  SELECT min(w) AS s FROM unnest(%(widths)s::bigint[]) w
   WHERE w * (%(columns)s - 1) >= (SELECT coalesce(extract(epoch FROM max(at) - min(at)), 0) FROM hit)
)
SELECT hit.type, width.s, date_bin(make_interval(secs => width.s), hit.at, date_trunc('day', %(since)s)), count(*), min(hit.at)
  FROM hit, width
 GROUP BY 1, 2, 3
 ORDER BY 1, 3
