-- The oldest transaction still running: everything below it is decided. One row.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint
