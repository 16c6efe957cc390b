-- The abort: back to the epochs before (function of migration 0100). `highest` stays: the number is spent, and what was made meanwhile falls
-- with the next cutover.
SELECT credentials_restore_epochs(%(cutover)s)
