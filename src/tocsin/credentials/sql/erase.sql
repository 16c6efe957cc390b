-- Erase the dead hashes of one range of accounts (function of migration 0020). 1 row: how many. Up to 50,000 rows; primary keys; locks them.
SELECT credentials_erase(%(cutover)s, %(first)s, %(last)s)
