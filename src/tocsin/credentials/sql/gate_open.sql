-- Every account of the customers that is open, with the epoch its sessions must have. Up to 24 million rows, streamed: scans accounts,
-- credentials and lifts once. No lock. Neither column is ever NULL, which fixes the length of a binary row.
COPY (SELECT account_id, session_epoch FROM credentials_gate_open) TO STDOUT (FORMAT binary)
