-- Every account of the customers that is open and whose new password has arrived, with the epoch its sessions must have.
-- Up to 24 million rows, streamed: scans accounts, credentials, lifts and the outbox once. No lock. Neither column is ever NULL, which fixes the length of a binary row.
COPY (SELECT account_id, session_epoch FROM credentials_gate_open WHERE delivered) TO STDOUT (FORMAT binary)
