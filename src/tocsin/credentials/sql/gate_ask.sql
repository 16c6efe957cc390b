-- The accounts of those subjects that have one: whether it is open, the epoch its sessions must have, and the version of the epochs in which
-- that was so. Subjects without an account have no row; if none has one, a single row of the version alone. At most 1,000 rows; indexes:
-- subjects_subject.external_id, credentials_account_subject, primary keys.
SELECT subject, account_id, is_open, session_epoch, version FROM credentials_gate_ask(%(subjects)s, %(waits)s)
