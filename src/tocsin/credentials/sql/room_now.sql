-- The waiting room's one row. 0 or 1 row, by primary key; locks nothing.
SELECT open, rate_per_s, nodes, admitted_per_s, capacity_per_s, hashes_per_s, wait_p95_ms, issued_total, used_total
FROM credentials_room WHERE id = 1
