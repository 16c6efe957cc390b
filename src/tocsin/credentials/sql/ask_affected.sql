-- Enqueue the job that mails the answer to "was I affected?", unless one waits for this address already (function of migration 0031). 1 row;
-- the queue's index procrastinate_jobs_queueing_lock_idx_v1.
SELECT credentials_ask_affected(%(lookup)s, %(request)s)
