-- The command line fills the register; workers open contact points and forget; the console reads. The public site knows the freeze
-- alone; intake and the sequencer have no right on any of these tables.
REVOKE ALL ON subjects_subject, subjects_contact, subjects_holding, subjects_holdingstore, subjects_card, subjects_import, subjects_reject,
  subjects_contactchange, subjects_contactfreeze FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
GRANT SELECT, INSERT, UPDATE ON subjects_subject TO tocsin_operator;
GRANT SELECT, INSERT, DELETE ON subjects_contact TO tocsin_operator;
GRANT SELECT, INSERT ON subjects_holding, subjects_holdingstore, subjects_card, subjects_import, subjects_reject TO tocsin_operator;
GRANT SELECT ON subjects_subject, subjects_contact, subjects_holding, subjects_holdingstore, subjects_card, subjects_import TO tocsin_worker;
GRANT UPDATE (salt, name_sealed, row_digest, last_active_date) ON subjects_subject TO tocsin_worker;  -- forgetting is a scheduled job
GRANT DELETE ON subjects_contact TO tocsin_worker;
GRANT SELECT ON subjects_subject, subjects_contact, subjects_holding, subjects_holdingstore, subjects_import, subjects_reject TO tocsin_console;
-- Former contact points: an import and whoever carries out a customer's change keep them, workers read and forget them. The freeze says
-- nothing about anybody: a cutover sets it, everybody may know it.
GRANT SELECT, INSERT ON subjects_contactchange TO tocsin_operator, tocsin_worker;
GRANT DELETE ON subjects_contactchange TO tocsin_worker, tocsin_operator;
GRANT SELECT (subject_id, kind, changed_at, changed_by, by) ON subjects_contactchange TO tocsin_console;
GRANT INSERT, UPDATE (sealed, lookup, provider) ON subjects_contact TO tocsin_worker;
GRANT UPDATE (sealed, lookup, provider) ON subjects_contact TO tocsin_operator;
GRANT SELECT ON subjects_contactfreeze TO tocsin_operator, tocsin_console, tocsin_worker, tocsin_public;
GRANT INSERT ON subjects_contactfreeze TO tocsin_operator, tocsin_console;
