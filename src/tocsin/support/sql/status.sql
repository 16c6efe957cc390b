-- The desk in messages of people: one pass over the messages and their cases, one row out. Read only.
SELECT count(*) FILTER (WHERE m.case_id IS NOT NULL),
       count(*) FILTER (WHERE m.case_id IS NOT NULL AND m.answered_at IS NULL),
       count(*) FILTER (WHERE m.answered_at IS NULL AND c.urgency <> ''),
       count(*) FILTER (WHERE m.urgency <> '' AND m.case_id IS NOT NULL),
       min(m.received_at) FILTER (WHERE m.case_id IS NOT NULL AND m.answered_at IS NULL),
       count(*) FILTER (WHERE m.answered_at IS NOT NULL),
       count(*) FILTER (WHERE m.answered_at IS NOT NULL AND r.release_id IS NOT NULL),
       count(*) FILTER (WHERE m.case_id IS NULL)
  FROM support_message m
  LEFT JOIN support_case c ON c.id = m.case_id
  LEFT JOIN support_reply r ON r.id = m.reply_id
