-- A lot of recipients for whom the notice that stands on the site stands from now on, with all accounts that were to be told through theirs.
-- Index: notices_substitute_mailing, notices_merged_told_with. Rows: at most `rows`, and the accounts merged into them.
WITH lot AS (
    SELECT id FROM notices_substitute WHERE mailing_id = %(mailing)s AND ended_at IS NULL AND site_sha256 IS NULL
    ORDER BY id LIMIT %(rows)s FOR UPDATE SKIP LOCKED
), covered AS (
    UPDATE notices_substitute s SET site_sha256 = %(sha256)s, noticed_at = %(at)s FROM lot WHERE s.id = lot.id
    RETURNING s.mailing_id, s.batch_id, s.place, s.subject, s.why
)
SELECT c.batch_id, c.place, c.why, c.subject, a.subject FROM covered c CROSS JOIN LATERAL (
    SELECT c.subject UNION ALL SELECT m.subject FROM notices_merged m WHERE m.mailing_id = c.mailing_id AND m.told_with = c.subject
) a (subject)
ORDER BY c.batch_id, c.place, a.subject
