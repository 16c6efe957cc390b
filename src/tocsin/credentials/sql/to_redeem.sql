-- All that is to be known before a new password is hashed: the account of a link that would work now, its owner's words, whether it has a second
-- factor that still counts, its ended hash (function of migration 0003), and the targets that take passwords with the format each likes best, in
-- two arrays of one order. 0 or 1 row; the link by primary key, factors by the index on their account, targets are a handful; locks nothing.
SELECT t.account_id, t.context,
  EXISTS (SELECT FROM credentials_live_factor f WHERE f.account_id = t.account_id AND f.class IN ('totp', 'passkey')),
  credentials_revoked_hash(t.token_sha256, %(at)s),
  ARRAY(SELECT g.id FROM credentials_target g WHERE g.state = ANY (%(active)s) AND cardinality(g.formats) > 0 ORDER BY g.id),
  ARRAY(SELECT g.formats[1] FROM credentials_target g WHERE g.state = ANY (%(active)s) AND cardinality(g.formats) > 0 ORDER BY g.id),
  t.population
FROM credentials_live_resettoken t WHERE t.token_sha256 = %(token)s AND t.expires_at > %(at)s
