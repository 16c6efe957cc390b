-- A new version of the epoch vector, and the notice of it to the nodes, which leaves with the commit. 1 row.
WITH raised AS (UPDATE credentials_population SET version = version + 1 WHERE id = %(population)s RETURNING version)
SELECT pg_notify('tocsin_cutover', %(cutover)s), version FROM raised
