-- The dead hashes of one range of accounts under a legal hold (function of migration 0020). Up to 50,000 rows; primary keys.
SELECT account_id, class, hash FROM credentials_dead_hashes(%(cutover)s, %(first)s, %(last)s)
