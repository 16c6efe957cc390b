-- Say of the epochs of a sealed cutover that they are sealed (function of migration 0100). 1 row per cohort and class.
SELECT credentials_seal_epochs(%(cutover)s)
