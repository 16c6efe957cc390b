-- Let one map load at a time; readers go on. One row. An advisory lock (an INSERT grant allows no stronger table lock), held until the
-- transaction ends.
SELECT pg_advisory_xact_lock(hashtext('inventory_mapversion'))
