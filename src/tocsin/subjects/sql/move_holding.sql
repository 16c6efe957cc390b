-- Give people with a card the profile that says so. Rows: all who have a card and another profile yet; locks those rows.
UPDATE subjects_subject s SET holding_id = m.target
FROM unnest(%(sources)s::bigint[], %(targets)s::bigint[]) AS m (source, target)
WHERE s.holding_id = m.source AND m.source <> m.target AND EXISTS (SELECT 1 FROM subjects_card c WHERE c.subject_id = s.id)
