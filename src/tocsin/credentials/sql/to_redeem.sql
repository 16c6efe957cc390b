-- All that is to be known before a new password is hashed: the account of a link that would work now, its owner's words, whether it has a second
-- factor that still counts, its ended hash (function of migration 0003), and the targets of its population that take passwords with the format
-- each likes best, in two arrays of one order. 0 or 1 row; the link by primary key, factors by the index on their account, targets are a handful;
-- locks nothing.
SELECT t.account_id, t.context,
  EXISTS (SELECT FROM credentials_live_factor f WHERE f.account_id = t.account_id AND f.class IN ('totp', 'passkey')),
  credentials_revoked_hash(t.token_sha256, %(at)s),
  x.targets, x.formats
FROM credentials_live_resettoken t
CROSS JOIN LATERAL (
  SELECT coalesce(array_agg(g.id ORDER BY g.id), '{}') AS targets, coalesce(array_agg(g.formats[1] ORDER BY g.id), '{}') AS formats
  FROM credentials_target g JOIN credentials_population p ON p.id = g.population_id AND p.name = t.population
  WHERE g.state = ANY (%(active)s) AND cardinality(g.formats) > 0
) x
WHERE t.token_sha256 = %(token)s AND t.expires_at > %(at)s
