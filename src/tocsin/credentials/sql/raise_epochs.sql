-- The cutover itself (function of migration 0100): 1 row per cohort and class. Locks these rows against each other cutover; no reader waits.
SELECT credentials_raise_epochs(%(cutover)s, %(at)s)
