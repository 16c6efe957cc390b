-- Enqueue the job that mails a reset link, or bring forward the one that waits for this address already, with its place in the waiting room, and later if its
-- address or network asks much (function of migration 0090). 1 row: the delay in seconds, -1 for a place used up by others (nothing is enqueued then). Locks the two rows of the pacer; the queue's index
-- procrastinate_jobs_queueing_lock_idx_v1.
SELECT credentials_ask_in_turn(%(lookup)s, %(request)s, %(at)s, %(address)s, %(network)s, %(ms)s, %(nonce)s, %(lane)s, %(bind)s)
