-- Nodes that may let people in now. A row per node; scans a table of that size.
SELECT node FROM credentials_nodelease WHERE until > clock_timestamp() ORDER BY node
