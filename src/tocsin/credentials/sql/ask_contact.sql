-- Keep a customer's wish for another address, and enqueue the job that mails the link (function of migration 0020). 1 row.
SELECT credentials_ask_contact(%(sid)s, %(version)s, %(request)s, %(deposit)s, %(at)s)
