"""The peacetime map: which system may run as whom, reach what, and which elements of whose data lie in which store.

Tables: `inventory_mapversion` (one row per loaded data map: its canonical JSON and that text's SHA-256), `inventory_system` and
`inventory_store` (the map's assets as rows, for statements of higher rooms that join on a store and its element mask).

Terms. *Element*: a code such as `email` or `password_hash`; each has one bit for ever (`types.ELEMENTS`). *Store*: a Fides dataset.
*Role*: whatever a system runs as and a store grants to. *Reach*: what an intruder on given hosts controls and can read, by the
fixpoint of `policy.reach`. *Cut*: the controls that together explain why a store was not reached; *proved* when each has an exhibit.

Promises. A map is refused whole, with every fault and its line, or taken whole. Maps are never changed: loading adds a version.
Missing information protects nobody: a list that is not stated lets everybody in, a zone that is not stated touches every other.

Reference: `reference/categories.yaml` says which Fides category counts as which element; its digest is part of the map's.
"""
