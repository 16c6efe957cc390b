"""The tamper-evident log: every act and every event that touches a customer, provable to an outsider.

Tables: `evidence_event` (insert only, written in the transaction of its effect), `evidence_batch` (which events stand at which indices of
the log), `evidence_head` (tree heads), `evidence_count` (running counts per type and incident at each head), `evidence_checkpoint` (what
was signed). Files: HOME/log (C2SP tlog-tiles, see `tocsin_tlog`).

Terms: an *entry* is an event that was sequenced; its *leaf* is 47 bytes that hold a salted commitment and nothing personal.
Promises: an event exists if and only if its effect does; the log never changes below a signed checkpoint; deleting a subject's salt makes
that person's leaves unopenable and leaves the log as it was. Only the sequencer process holds the signing key.
"""
