-- Mark the waiting messages of one batch of a release answered, each by its reply. Rows: some per case of the batch. Index: primary key.
-- Lock: the caller holds the cases' row locks, so nobody else answers these messages.
UPDATE support_message m SET reply_id = pair.reply, answered_at = %(at)s
  FROM unnest(%(messages)s::bigint[], %(replies)s::bigint[]) AS pair (message, reply)
 WHERE m.id = pair.message
