"""A transparency log as plain files: leaves in, signed checkpoints and offline proofs out.

Standard library and `cryptography` only; it knows nothing of Tocsin, Django or any database, so that an outsider can read and run it alone.

    leaf        the 47 bytes that stand for one event                 tree        RFC 6962 hashing and node arithmetic
    tiles       the folder: one flat file per level, and its slices   appender    the one writer: durable first, then signed
    note        signed notes and key texts                            checkpoint  size and root as a note
    proof       inclusion, consistency, `.tlog-proof` files           verify      check a whole folder, trusting nobody
    durable     file writes that survive a power cut                  errors      what can go wrong
    pubverify.sh  the same check of one proof with coreutils, xxd and openssl

Terms: an *entry* is the bytes logged, a *leaf* its hash's place in the tree, a *head* is (size, root), a *checkpoint* a signed head.
Formats: C2SP tlog-tiles v0.1, tlog-checkpoint v1.0, signed-note v1.0, tlog-cosignature v1.1, tlog-proof v1; hashing RFC 6962 s2.1.

Promises: nothing is signed before it is durable; no head is signed that contradicts a signed one; a reader needs no lock.
"""
