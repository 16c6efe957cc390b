-- Attach tokens to their customers; a token known already changes nothing. Returns no rows; the row count is of what is new.
INSERT INTO subjects_card (subject_id, token, last4)
SELECT DISTINCT s.id, i.token, i.last4 FROM subjects_incoming_card i JOIN subjects_subject s ON s.external_id = i.external_id
ON CONFLICT (subject_id, token) DO NOTHING
