-- Confirm a wish for another address with its link, once, and enqueue the job that carries it out (function of migration 0020). 1 row.
SELECT credentials_confirm_contact(%(token)s, %(at)s)
