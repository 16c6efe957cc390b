-- The holding profiles of people who have a card. Rows: thousands at most.
SELECT DISTINCT s.holding_id FROM subjects_subject s WHERE EXISTS (SELECT 1 FROM subjects_card c WHERE c.subject_id = s.id)
