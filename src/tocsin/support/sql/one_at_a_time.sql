-- Let calls of one person wait for each other until the transaction ends, so that nobody gets two cases. A unique index on lease_by would not
-- do: an expired lease keeps its holder's name until somebody else takes the case. Advisory lock (class of the desk, hash of the name); two
-- people whose names collide wait for each other for some milliseconds, nothing more.
SELECT pg_advisory_xact_lock(1953449324, hashtext(%(by)s))
