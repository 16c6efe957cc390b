-- Nodes that may still let people in, and those that acknowledged a cutover, with the milliseconds after its commit. A row per node.
SELECT coalesce(l.node, k.node), l.until > clock_timestamp(), extract(epoch FROM k.seen_at - %(committed)s) * 1000
FROM (SELECT node, until FROM credentials_nodelease WHERE until > %(committed)s) l
FULL JOIN (SELECT node, seen_at FROM credentials_cutoverack WHERE cutover_id = %(cutover)s) k ON k.node = l.node
ORDER BY 1
