-- Who of an exposure is told in which words through which provider, and which accounts share a mailbox, into a table of this transaction.
-- The choices (`text.languages.choices`) are one row per jurisdiction and language, some hundreds; a reader's locale is looked up whole,
-- then by its language, then as unknown (''), of which every jurisdiction has a row.
-- Rows: one per exposed subject (24 million). Reads incidents_exposedsubject by exposure, subjects_contact and, if the notice has several
-- languages or waves are asked for, subjects_subject by subject (hash joins); one sort by mailbox. No locks but those of reading.
-- `told_with`: of the accounts at one mailbox that get the same text (in whatever language), one whose language is known, the lowest first.
-- Of accounts at one mailbox the earliest rank, the latest activity and every lock count for the recipient.
CREATE TEMP TABLE notices_freezing ON COMMIT DROP AS
WITH choice AS NOT MATERIALIZED (  -- written into each join, so that parallel workers may read it
    SELECT k.id AS cohort, c.locale, c.variant, c.text
    FROM incidents_cohort k
    JOIN unnest(%(jurisdictions)s::text[], %(locales)s::text[], %(variants)s::bigint[], %(texts)s::bigint[])
         AS c (jurisdiction, locale, variant, text) ON c.jurisdiction = k.jurisdiction
    WHERE k.exposure_id = %(exposure)s
)
SELECT p.subject, p.variant,
       CASE WHEN p.mailbox IS NULL THEN %(letter_lane)s ELSE p.provider END AS provider,
       CASE WHEN p.mailbox IS NULL THEN p.subject
            ELSE first_value(p.subject) OVER (PARTITION BY p.mailbox, p.text ORDER BY p.unknown, p.subject) END AS told_with,
       CASE WHEN p.mailbox IS NULL THEN p.rank ELSE min(p.rank) OVER same END AS rank,
       CASE WHEN p.mailbox IS NULL THEN p.locked ELSE bit_or(p.locked) OVER same END AS locked,
       CASE WHEN p.mailbox IS NULL THEN p.active_date ELSE max(p.active_date) OVER same END AS active_date
FROM (
    SELECT e.subject_id AS subject, coalesce(whole.variant, spoken.variant, other.variant) AS variant, other.text,
           (whole.variant IS NULL AND spoken.variant IS NULL)::int AS unknown, c.lookup AS mailbox, c.provider,
           coalesce(o.rank, 0) AS rank, coalesce(o.locked, 0) AS locked, s.last_active_date AS active_date
    FROM incidents_exposedsubject e
    JOIN choice other ON other.cohort = e.cohort_id AND other.locale = ''
    LEFT JOIN unnest(%(cohorts)s::bigint[], %(ranks)s::int[], %(locks)s::bigint[]) AS o (cohort, rank, locked) ON o.cohort = e.cohort_id
    LEFT JOIN subjects_subject s ON (%(several)s OR %(waves)s) AND s.id = e.subject_id
    LEFT JOIN choice whole ON whole.cohort = e.cohort_id AND whole.locale <> '' AND whole.locale = lower(replace(s.locale, '_', '-'))
    LEFT JOIN choice spoken ON spoken.cohort = e.cohort_id AND spoken.locale <> ''
                           AND spoken.locale = split_part(lower(replace(s.locale, '_', '-')), '-', 1)
    LEFT JOIN subjects_contact c ON c.subject_id = e.subject_id AND c.kind = 'email' AND c.rank = 0
    WHERE e.exposure_id = %(exposure)s
) p
WINDOW same AS (PARTITION BY p.mailbox, p.text)
