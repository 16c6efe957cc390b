-- Spend a token, make its successor and a session, or end the family of a copied one (function of migration 0011). 1 row; the same lock.
SELECT credentials_rotate_bearer(%(secret)s, %(cls)s, %(new)s, %(sid)s, %(at)s, %(expires_at)s)
