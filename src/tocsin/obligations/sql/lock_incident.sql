-- Let one assessment, answer or determination of an incident run at a time; 0 stands for the company. One row. An advisory lock, held
-- until the transaction ends.
SELECT pg_advisory_xact_lock(hashtext('obligations'), %(incident)s)
