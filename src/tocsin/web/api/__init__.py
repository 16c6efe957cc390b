"""The gate over HTTP, for a company's own programs: its log-in, its proxies. Its own process and database role; reaches only credentials.

Promises: an answer is from memory or from one indexed question; without a lease everybody is refused; nothing is logged of a question.
"""
