-- The desk in messages of people, one row out. Read only. Touches no message but the oldest waiting one: the tally's few rows, the urgent open
-- cases (index only, support_case_urgent), and the head of support_message_waiting. The console and the surge forecast ask every few seconds.
SELECT t.received,
       t.received - t.answered,
       (SELECT coalesce(sum(waiting), 0)::bigint FROM support_case WHERE state = 'open' AND urgency <> ''),
       t.urgent_received,
       (SELECT received_at FROM support_message WHERE answered_at IS NULL AND case_id IS NOT NULL ORDER BY received_at LIMIT 1),
       t.answered,
       t.bulk_answered,
       t.set_aside
  FROM (SELECT coalesce(sum(received), 0)::bigint AS received, coalesce(sum(urgent_received), 0)::bigint AS urgent_received,
               coalesce(sum(answered), 0)::bigint AS answered, coalesce(sum(bulk_answered), 0)::bigint AS bulk_answered,
               coalesce(sum(set_aside), 0)::bigint AS set_aside
          FROM support_tally) t
