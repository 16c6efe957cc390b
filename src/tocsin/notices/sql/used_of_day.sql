-- Messages handed over since a moment, over all mailings, and the recipients of blocks that senders hold now. Reads the receipts of a day
-- (24,000 for 24 million people) by notices_receipt_at and the few leased blocks by notices_batch_open. No locks.
SELECT (SELECT coalesce(sum(r.handed_over), 0) FROM notices_mailing m JOIN notices_receipt r ON r.mailing_id = m.id AND r.at > %(since)s
        WHERE m.started_at IS NOT NULL AND (m.ended_at IS NULL OR m.ended_at > %(since)s)),
       (SELECT coalesce(sum(n), 0) FROM notices_batch WHERE state = 'open' AND connections > 0 AND lease_until > clock_timestamp())
