"""For programs, over HTTP: the gate, which a company's own log-in and proxies ask, and the feeds by which relays tell of our mail.

Its own process and database role; reaches only credentials and mail.

Promises: an answer is from memory or from one indexed question; without a lease everybody is refused; nothing is logged of a question.
"""
