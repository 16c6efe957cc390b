"""Mail: envelopes out (DKIM, SMTP), inbound sorted into bounces, complaints, automatic answers and messages. Knows no incident, no subject.

Tables: `mail_outbound` (single mails: reset links, answers of the desk; sealed), `mail_inbound` (raw mail as it came, sealed by a process
that cannot open it), `mail_suppression` (addresses that opted out of marketing; notices under a legal duty neither read nor change it).
Mailings have no rows here: `notices` owns blocks of about 1,000 recipients and hands each to `actions.send_block`.

Terms: a *template* is a notice compiled to bytes that need no canonicalisation; a *block* is a leased lot of recipients; an *outcome* is
what became of one of them; *in doubt* means that the final dot was written and no reply was read.

Promises: kill -9 at any instant loses nobody and leaves at most one possible repeat per open connection, each readable from the journal
(`sender/journal.py`) before anything is sent again. Message-IDs are keyed and deterministic: a repeat carries the same one. A bounce counts
only if it came to an address with our MAC. Mail that came in was committed before it was accepted.
"""
