-- How many events the sequencer has not taken in: those at or behind its horizon. Index evidence_event_txid; rows: what came since.
SELECT count(*) FROM evidence_event WHERE txid >= %(txid_from)s
