-- Put a batch of mail in; a mail that is there already is left as it is. Returns id and digest of the new rows only.
-- Rows: 1 to 200. Index: the unique one on digest. Lock: the caller holds an advisory lock, so that ids rise in the order of commits and a
-- reader that asks for ids above the last one it saw misses none.
INSERT INTO mail_inbound (received_at, kind, digest, deposit, size_bytes, verp_block, verp_n, single)
SELECT * FROM unnest(%(received_at)s::timestamptz[], %(kind)s::text[], %(digest)s::bytea[], %(deposit)s::bytea[], %(size_bytes)s::int[],
                     %(verp_block)s::bigint[], %(verp_n)s::bigint[], %(single)s::bigint[])
ON CONFLICT (digest) DO NOTHING
RETURNING id, digest
