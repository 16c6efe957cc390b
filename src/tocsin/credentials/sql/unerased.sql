-- How many dead hashes of a cutover are still there (function of migration 0020). 1 row; scans the credentials once: about 5 s at 24 million.
SELECT credentials_unerased(%(cutover)s)
