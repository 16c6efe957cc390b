-- The accounts whose mailbox is another account's too. Rows: few per cent. Reads notices_freezing once.
INSERT INTO notices_merged (mailing_id, subject, told_with)
SELECT %(mailing)s, subject, told_with FROM notices_freezing WHERE told_with <> subject
