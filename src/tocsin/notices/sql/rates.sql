-- Handed over by lane since a moment. Reads the receipts of a minute (hundreds) by notices_receipt_at, and their blocks by primary key.
SELECT b.lane_id, sum(r.handed_over)::bigint
FROM notices_receipt r JOIN notices_batch b ON b.id = r.batch_id
WHERE r.mailing_id = %(mailing)s AND r.at > %(since)s AND r.at <= %(until)s
GROUP BY b.lane_id
