"""The gate: a company's own log-in asks whether somebody may come in at all, and gets the answer from memory while the node's lease stands.

    board.py   what one version of the epochs lets in: a byte per account, empty again in O(1) when the version rises
    node.py    the process that answers: its lease, its board, the loading of the board, the questions that go to the database
    keys.py    the keys with which shops ask; stored as SHA-256

Which answers may come from memory. *Closed to open* is safe to learn late, *open to closed* is not. Whatever closes (a cutover, a widening)
raises the version of the epoch vector in the same commit; lifts and new accounts only open. One thing closes without a version: a reset of
somebody who is through already, for as long as the new password is on its way to a company's system. "Open" may then be answered a while
longer; the older password, which that person chose after the cutover, is what it lets in. So "open" is remembered under the version
it was read in and never beyond it, and "closed" is asked anew, at most REFUSED_KEPT_S after it was asked last: whoever has a new password is
through within a second, without a feed of changes.

Why nobody is let in after a cutover is sealed. A node acknowledges a version only after its board of that version has replaced the older one
(`credentials_gate_ack` acknowledges nothing but the version the node names). An answer is given only if, after it was made, the lease
still stands and the board it was made from is still the one in use: it was therefore true at an instant after the question came in. A
node that hears nothing refuses everybody when its lease ends, which is before the database's copy of it ends, which is what sealing waits for.
"""
