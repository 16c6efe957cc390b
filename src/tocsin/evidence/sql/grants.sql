-- Whoever acts may add events and read them; nobody may change one, or choose its id or `txid`: a txid below the sequencer's horizon would
-- keep an event out of the log for ever. The public process adds events through functions of the owner only (migration 0003), intake adds
-- none. The sequencer alone writes batches, heads, counts and checkpoints.
REVOKE ALL ON evidence_event, evidence_batch, evidence_head, evidence_count, evidence_checkpoint FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
REVOKE ALL ON FUNCTION evidence_hmac_sha256, evidence_record_public FROM PUBLIC, tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
GRANT SELECT, INSERT (uuid, type, at, actor, incident, subject, event, salt, commitment) ON evidence_event TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT SELECT ON evidence_event TO tocsin_sequencer;
GRANT SELECT, INSERT ON evidence_batch, evidence_head, evidence_count, evidence_checkpoint TO tocsin_sequencer;
GRANT SELECT ON evidence_batch, evidence_head, evidence_count, evidence_checkpoint TO tocsin_operator, tocsin_console, tocsin_worker;
