-- Enqueue the job that puts a code by post on the list, unless one waits for this address already (function of migration 0031). 1 row; the
-- queue's index procrastinate_jobs_queueing_lock_idx_v1.
SELECT credentials_ask_letter(%(lookup)s, %(postcode)s, %(request)s)
