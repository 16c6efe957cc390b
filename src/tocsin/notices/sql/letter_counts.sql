-- What stands beside the counts of a mailing: letters by what became of them, recipients without a channel, and what else came back.
-- Reads the letters of a mailing (index notices_letter_state_ix), its open substitute rows, and the few mails that are no bounces.
SELECT coalesce(l.printed, 0), coalesce(l.rejected, 0), coalesce(l.returned, 0), s.unreachable, s.substitute, b.complaints, b.autos
FROM (
    SELECT count(*) FILTER (WHERE state = 'bundled') AS printed, count(*) FILTER (WHERE state = 'rejected') AS rejected,
           count(*) FILTER (WHERE state = 'returned' AND NOT EXISTS (
               SELECT 1 FROM notices_letter n WHERE n.mailing_id = l.mailing_id AND n.subject = l.subject AND n.attempt > l.attempt)) AS returned
    FROM notices_letter l WHERE mailing_id = %(mailing)s
) l, (
    SELECT count(*) AS unreachable, count(site_sha256) AS substitute FROM notices_substitute
    WHERE mailing_id = %(mailing)s AND ended_at IS NULL
) s, (
    SELECT count(*) FILTER (WHERE r.kind = 'complaint') AS complaints, count(*) FILTER (WHERE r.kind = 'auto') AS autos
    FROM notices_bounce r JOIN notices_batch k ON k.id = r.batch WHERE r.kind <> 'bounce' AND k.mailing_id = %(mailing)s
) b
