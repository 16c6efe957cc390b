-- A lot of letters that are to go to the print house: those queued, and those that no address was good enough for so far.
-- With the text they carry, whom they speak of, and the addresses that earlier letters to the person went to.
-- Indexes: notices_letter_state_ix, notices_merged_told_with, notices_letter_once. Rows: at most `rows`.
SELECT l.id, l.batch_id, l.place, l.subject, l.state, b.variant_id, b.subjects[l.place + 1],
       ARRAY(SELECT m.subject FROM notices_merged m WHERE m.mailing_id = l.mailing_id AND m.told_with = b.subjects[l.place + 1] ORDER BY 1),
       ARRAY(SELECT o.address_mac FROM notices_letter o
             WHERE o.mailing_id = l.mailing_id AND o.subject = l.subject AND o.attempt < l.attempt AND o.address_mac IS NOT NULL),
       ''::bytea
FROM notices_letter l JOIN notices_batch b ON b.id = l.batch_id
WHERE l.mailing_id = %(mailing)s AND l.state IN ('queued', 'rejected') AND l.id > %(after)s AND l.id <= %(until)s
ORDER BY l.id LIMIT %(rows)s
