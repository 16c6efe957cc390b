-- How many events of each type there are, of one incident or of all: the running counts at a head, and the tail that began behind it. Exact
-- whatever the sequencer does meanwhile, for head and tail meet at one transaction. `txid_from` is a parameter, not read here, so that the
-- planner knows how short the tail is. Up to one row per type; indexes evidence_count_incident, evidence_count_type (one look-up per type),
-- evidence_event_txid.
SELECT type, sum(n)::bigint
FROM (
  SELECT t.type, (
    SELECT CASE WHEN %(incident)s::int IS NULL THEN c.of_type ELSE c.of_incident END
    FROM evidence_count c
    WHERE c.type = t.type AND c.size <= %(size)s AND (%(incident)s::int IS NULL OR c.incident = %(incident)s::int)
    ORDER BY c.size DESC LIMIT 1) AS n
  FROM unnest(%(types)s::smallint[]) AS t(type)
  UNION ALL
  SELECT e.type, count(*) FROM evidence_event e
  WHERE e.txid >= %(txid_from)s AND (%(incident)s::int IS NULL OR e.incident = %(incident)s::int)
  GROUP BY e.type
) x
WHERE n IS NOT NULL
GROUP BY type
ORDER BY type
