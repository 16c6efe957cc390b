-- The index of one event's leaf, NULL when it was not sequenced yet. Reads at most one batch (65,536 rows) of index evidence_event_txid.
SELECT (
  SELECT b.first_index + (
    SELECT count(*) FROM evidence_event o
    WHERE o.txid >= b.txid_from AND o.txid < b.txid_to AND o.id >= b.id_from AND o.id < e.id)
  FROM evidence_batch b
  WHERE b.txid_from <= e.txid AND e.txid < b.txid_to AND b.id_from <= e.id AND e.id <= b.id_to)
FROM evidence_event e WHERE e.id = %(entry)s
