"""The waiting room: how many people at a time are led to the form, in the order in which they came, and none refused.

Files: `policy` the pure decisions, `ticket` the signed places (format in its head), `state` what a node knows of the room, `node` the
thread that reports, leads and listens, `gate` who may pass now, `limits` what slows strangers down, `writes` what operators set, `read`
the gauge. Values are in `credentials/places.py`; what the hashing pool can do is measured in `passwords/meter.py`.

Tables: `credentials_room` (one row: open or not, rate, credit), `credentials_roomlane` (a watermark per lane), `credentials_roomsecond`
(tickets per node, lane and second), `credentials_roomnode` (what each node measured), `credentials_roomlimit` (what a connector can
write), `credentials_roomplace` (the place that a reset link carries), `credentials_try` (failed log-ins in a row, by keyed digest),
`credentials_pacer` (mails asked for, and links that did not work, from an address or network, by keyed digest).

Terms: *place*, the second in which somebody came and a random fraction that orders people inside it. *Ticket*, a place, signed; the
room keeps no row for it. *Watermark*, one per lane: places before it are let through. *Pass*, a signed leave of fifteen minutes to send
the form, bound to one reset link. *Leader*, the node that moves the watermarks in a given second; any node can.

Promises: a place survives the death of every process and of the database, for it is in the ticket and the key is on disk. Places of one
lane are admitted in the order of their seconds. As long as nobody waits nobody sees the room. A link that was let through once is let
through in any browser.
"""
