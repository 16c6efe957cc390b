-- Enqueue the job that mails a reset link, unless one waits for this address already (function of migration 0003). 1 row; the queue's index
-- procrastinate_jobs_queueing_lock_idx_v1.
SELECT credentials_ask_reset(%(lookup)s, %(request)s, %(at)s)
