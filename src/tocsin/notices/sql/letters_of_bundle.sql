-- The letters of a bundle in their order, with what `letters_open` says of each, and the address that each went to.
-- Rows: a bundle's. Indexes: notices_bundledletter_place, primary keys, notices_merged_told_with.
SELECT l.id, l.batch_id, l.place, l.subject, l.state, b.variant_id, b.subjects[l.place + 1],
       ARRAY(SELECT m.subject FROM notices_merged m WHERE m.mailing_id = l.mailing_id AND m.told_with = b.subjects[l.place + 1] ORDER BY 1),
       '{}'::bytea[], p.address_mac
FROM notices_bundledletter p JOIN notices_letter l ON l.id = p.letter_id JOIN notices_batch b ON b.id = l.batch_id
WHERE p.bundle_id = %(bundle)s ORDER BY p.place
