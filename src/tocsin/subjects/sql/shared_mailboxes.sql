-- How many mailboxes belong to several accounts, and how many accounts those are. Index subjects_contact_lookup; one row.
SELECT count(*), coalesce(sum(n), 0) FROM (
  SELECT count(*) AS n FROM subjects_contact WHERE lookup IS NOT NULL AND rank = 0 GROUP BY lookup HAVING count(*) > 1
) shared
