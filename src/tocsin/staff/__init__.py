"""Operators, roles and dual control: two people approve what cannot be undone.

Tables: `staff_operator`, `staff_approval`, `staff_signature`.
An approval is a digest over exactly what will be done; a signature is an operator's Ed25519 signature over that digest. The process that
acts recomputes the digest from what it is about to do and checks the signatures against the public keys in the estate's home, so that
nobody who can merely write to the database can approve anything.
"""
