-- Recipients for whom a channel was found after all. Reads the open rows of a mailing (index notices_substitute_mailing) and the exception
-- row of each.
UPDATE notices_substitute s SET ended_at = %(at)s FROM notices_exception x
WHERE s.mailing_id = %(mailing)s AND s.ended_at IS NULL AND x.batch_id = s.batch_id AND x.place = s.place AND x.state <> 'bounced'
