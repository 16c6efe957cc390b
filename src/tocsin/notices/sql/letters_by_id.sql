-- Letters that were in a bundle, with what `letters_open` says of each. Rows: those asked for. Indexes: primary keys, notices_merged_told_with.
SELECT l.id, l.batch_id, l.place, l.subject, l.state, b.variant_id, b.subjects[l.place + 1],
       ARRAY(SELECT m.subject FROM notices_merged m WHERE m.mailing_id = l.mailing_id AND m.told_with = b.subjects[l.place + 1] ORDER BY 1),
       ARRAY(SELECT o.address_mac FROM notices_letter o
             WHERE o.mailing_id = l.mailing_id AND o.subject = l.subject AND o.attempt < l.attempt AND o.address_mac IS NOT NULL),
       coalesce(l.address_mac, ''::bytea)
FROM notices_letter l JOIN notices_batch b ON b.id = l.batch_id
WHERE l.id = ANY(%(letters)s::bigint[]) ORDER BY l.id
