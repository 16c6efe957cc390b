-- A lot of recipients whom no channel reaches: no further e-mail address, and no postal address, or only such as no letter can go to or came
-- back from. Indexes: notices_exception_state_ix, notices_letter_place, notices_substitute_once, primary key of subjects_contact.
-- Rows: at most `rows`.
INSERT INTO notices_substitute AS s (mailing_id, batch_id, place, subject, why, found_at)
SELECT x.mailing_id, x.batch_id, x.place, x.subject,
       CASE l.state WHEN 'returned' THEN 'returned' WHEN 'rejected' THEN 'bad_address' ELSE 'no_address' END, %(at)s
FROM notices_exception x
LEFT JOIN LATERAL (
    SELECT state FROM notices_letter l WHERE l.batch_id = x.batch_id AND l.place = x.place ORDER BY attempt DESC LIMIT 1
) l ON true
WHERE x.mailing_id = %(mailing)s AND x.state = 'bounced'
  AND NOT EXISTS (SELECT 1 FROM subjects_contact c WHERE c.subject_id = x.subject AND c.kind = 'email' AND c.rank > x.rank
                  AND x.rank < %(rank_max)s)
  AND (l.state IN ('returned', 'rejected') OR (l.state IS NULL AND NOT EXISTS (
        SELECT 1 FROM subjects_contact c WHERE c.kind IN ('verified', 'billing', 'shipping') AND (c.subject_id = x.subject
           OR c.subject_id IN (SELECT m.subject FROM notices_merged m WHERE m.mailing_id = x.mailing_id AND m.told_with = x.subject)))))
  AND NOT EXISTS (SELECT 1 FROM notices_substitute o WHERE o.batch_id = x.batch_id AND o.place = x.place AND o.ended_at IS NULL)
ORDER BY x.id LIMIT %(rows)s
ON CONFLICT (batch_id, place) DO UPDATE
SET why = excluded.why, found_at = excluded.found_at, site_sha256 = NULL, noticed_at = NULL, ended_at = NULL
RETURNING s.id
