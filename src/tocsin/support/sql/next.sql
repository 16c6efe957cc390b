-- Lease the case that is served next: one row, through the partial index support_case_next (rank, waiting_since) of open cases.
-- Ranks below %(rank_from)s are left to others: a novice's search begins behind the urgent cases.
-- Takes one row lock and waits for nobody: rows that others are taking are passed over.
UPDATE support_case SET lease_by = %(by)s, lease_until = %(until)s
 WHERE id = (
   SELECT id FROM support_case
    WHERE state = 'open' AND rank >= %(rank_from)s AND (lease_until IS NULL OR lease_until <= %(at)s)
    ORDER BY rank, waiting_since, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED)
RETURNING id
