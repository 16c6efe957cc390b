-- Enqueue the job that mails the answer to "was I affected?", unless one waits for this address already (function of migration 0090),
-- later if its address or network asks much. 1 row: the delay in seconds; locks two rows of the pacer; the queue's index procrastinate_jobs_queueing_lock_idx_v1.
SELECT credentials_ask_affected_in_turn(%(lookup)s, %(request)s, %(at)s, %(address)s, %(network)s)
