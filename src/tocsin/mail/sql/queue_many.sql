-- Queue single mails; one whose dedupe is there already is left as it is. Returns id and dedupe of the new rows only.
-- Rows: 1 to 1000, by rising dedupe. Index: the unique one on dedupe; a row that another transaction is putting in is waited for.
INSERT INTO mail_outbound (dedupe, purpose, sealed, queued_at, state, attempt, lease_until, fence, message_id, code, enhanced, reason, repeats,
                           receiver)
SELECT dedupe, purpose, sealed, queued_at, 'open', 0, 'epoch', 0, '', 0, '', '', 0, ''
  FROM unnest(%(dedupe)s::bytea[], %(purpose)s::text[], %(sealed)s::bytea[], %(queued_at)s::timestamptz[])
       AS new (dedupe, purpose, sealed, queued_at)
ON CONFLICT (dedupe) DO NOTHING
RETURNING id, dedupe
