"""Notices: approved texts, mailings, blocks of recipients, lanes, letters and the notice on the site.

Tables: `notices_notice` and `notices_variant` (a text as it will be sent, in one language), `notices_review` (who read a translation),
`notices_testmail` (what went to seed addresses), `notices_mailing` (one frozen sending of a notice),
`notices_lane` (its share of one mailbox provider: pace and connections), `notices_batch` (a leased block of up to 1,000 recipients),
`notices_shipped` (what a sender has done of a block under way), `notices_merged` (further accounts at a recipient's mailbox),
`notices_exception` (recipients that were deferred, bounced or get a letter), `notices_receipt` (what the receivers said, compressed),
`notices_bounce` (what machines sent back), `notices_letter`, `notices_bundle` and `notices_bundledletter` (letters in one PDF for the print
house), `notices_substitute` (whom no channel reaches), `notices_sitenotice`.

Terms: a *recipient* is one mailbox, or one person without a mailbox; a *block* is a row of `notices_batch`; a *case code* stands in each
notice and names (block, place) to whoever holds the key, so that "did you send this?" needs no row per person; *in doubt* means that the
final dot was written and no reply was read.

Promises: no row per recipient unless something went wrong; every recipient is in exactly one of waiting, handed over, deferred, bounced,
letters (the counts are checked by the database); kill -9 at any instant loses nobody, and who may get the notice a second time is named
in the evidence before: one per open connection at most, or, when a machine is lost or its power fails, the few seconds' worth of each block
that `sending` states; the sender sends only what two people signed (texts, blocks, counts), which it checks itself for each block; `stop`
acts within a second. A notice holds no link unless asked for, never a picture, an attachment or a script.
"""
