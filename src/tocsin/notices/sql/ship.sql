-- What a sender has done and how far it may go, told once a second at most. One row in, if the block is still ours: the lock on its row keeps
-- a take-over out until this commits, so that whoever raises the fence reads it, or it is refused. Index: primary key of notices_batch.
WITH held AS (SELECT id FROM notices_batch WHERE id = %(batch)s AND fence = %(fence)s FOR KEY SHARE)
INSERT INTO notices_shipped (batch_id, attempt, ahead, records, at)
SELECT id, %(attempt)s, %(ahead)s, %(records)s, clock_timestamp() FROM held
