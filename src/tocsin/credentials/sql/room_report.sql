-- A node's measurements and tickets per second (function of migration 0041). Upserts one row of the node and one per second reported.
SELECT credentials_room_report(%(node)s, %(lanes)s::int[], %(seconds)s::bigint[], %(counts)s::int[], %(capacity)s, %(hashes)s, %(wait_p95_ms)s,
  %(strained)s,  %(direct)s, %(used)s, %(close)s)
