-- Reserve numbers for new subjects, so that their personal data can be sealed for them before the rows exist.
SELECT nextval(pg_get_serial_sequence('subjects_subject', 'id')) FROM generate_series(1, %(n)s)
