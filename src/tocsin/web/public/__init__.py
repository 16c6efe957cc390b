"""The customers' site: the notice, a new password, sign-in, and whether a message came from us. Its own process and database role.

Promises: no session table, no database write on a GET; the same answer for every address; a link is never used up by looking; nothing is
cached; no request leaves for a third party. It reaches only credentials, notices and support.
"""
