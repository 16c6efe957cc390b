-- Events whose transactions have surely ended, in the order in which they become leaves. Index evidence_event_txid; streamed.
-- Every transaction below the horizon has committed or aborted, so no event can appear there later.
SELECT id, type, at, incident, commitment FROM evidence_event
WHERE txid >= %(txid_from)s AND txid < %(txid_to)s
ORDER BY id
