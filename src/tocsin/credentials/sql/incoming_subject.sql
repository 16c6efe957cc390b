-- Find each line's subject by external id. Up to 50,000 rows; index: subjects_subject.external_id (unique).
UPDATE credentials_incoming i SET subject = s.id FROM subjects_subject s WHERE s.external_id = i.external_id
