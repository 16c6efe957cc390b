-- Which of these external ids are known: their subject, whether it has a card, the digest of the row they came from (null once forgotten);
-- and which this very file named before. Up to one batch (20,000); indexes: subjects_subject_external_id, subjects_seen, subjects_card.
SELECT w.external_id, s.id, EXISTS (SELECT 1 FROM subjects_card c WHERE c.subject_id = s.id),
       CASE WHEN s.salt IS NOT NULL THEN s.row_digest END, n.external_id IS NOT NULL
FROM unnest(%(external_ids)s::text[]) AS w (external_id)
LEFT JOIN subjects_subject s ON s.external_id = w.external_id
LEFT JOIN subjects_seen n ON n.external_id = w.external_id
