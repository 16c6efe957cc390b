-- The running counts after a turn: those before it plus the turn's own, one row per type and incident that the turn touched. Few rows; indexes
-- evidence_count_incident, evidence_count_type. Only the sequencer writes here, one at a time.
WITH turn AS (
  SELECT * FROM unnest(%(types)s::smallint[], %(incidents)s::int[], %(ns)s::bigint[]) AS t(type, incident, n)
)
INSERT INTO evidence_count (size, type, incident, of_incident, of_type)
SELECT %(size)s, t.type, t.incident,
  t.n + coalesce((SELECT c.of_incident FROM evidence_count c WHERE c.type = t.type AND c.incident = t.incident ORDER BY c.size DESC LIMIT 1), 0),
  sum(t.n) OVER (PARTITION BY t.type)
    + coalesce((SELECT c.of_type FROM evidence_count c WHERE c.type = t.type ORDER BY c.size DESC LIMIT 1), 0)
FROM turn t
