-- Which of these external ids are known, with their subject and the store masks of their card; and which this very file named before.
-- Up to one batch (20,000); indexes: subjects_subject.external_id, subjects_seen, subjects_card by subject.
SELECT w.external_id, s.id, EXISTS (SELECT 1 FROM subjects_card c WHERE c.subject_id = s.id), n.external_id IS NOT NULL
FROM unnest(%(external_ids)s::text[]) AS w (external_id)
LEFT JOIN subjects_subject s ON s.external_id = w.external_id
LEFT JOIN subjects_seen n ON n.external_id = w.external_id
