-- Whoever acts may add events and read them; nobody may change one. The sequencer alone writes batches and checkpoints.
REVOKE ALL ON evidence_event, evidence_batch, evidence_head, evidence_checkpoint FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
GRANT SELECT, INSERT ON evidence_event TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT INSERT ON evidence_event TO tocsin_public, tocsin_intake;
GRANT SELECT (id) ON evidence_event TO tocsin_public, tocsin_intake;  -- INSERT ... RETURNING id
GRANT SELECT ON evidence_event TO tocsin_sequencer;
GRANT SELECT, INSERT ON evidence_batch, evidence_head, evidence_checkpoint TO tocsin_sequencer;
GRANT SELECT ON evidence_batch, evidence_head, evidence_checkpoint TO tocsin_operator, tocsin_console, tocsin_worker;
