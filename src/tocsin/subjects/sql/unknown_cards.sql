-- Lines of a token file whose customer the register does not know. Index subjects_subject.external_id; rows: those of the file at most.
SELECT i.line FROM subjects_incoming_card i LEFT JOIN subjects_subject s ON s.external_id = i.external_id WHERE s.id IS NULL ORDER BY i.line
