-- Make the node's lease stand for another two seconds (function of migration 0002). 1 row, by primary key.
SELECT credentials_renew_lease(%(node)s)
