-- What a mailing would be, of the people put into notices_freezing in this transaction. Rows: variants x providers, some thousands.
SELECT variant, provider, count(*) FILTER (WHERE told_with = subject), count(*) FILTER (WHERE told_with <> subject)
FROM notices_freezing GROUP BY variant, provider ORDER BY variant, provider
