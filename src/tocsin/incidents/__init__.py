"""Declare an incident, scope whose what was reachable, keep its facts.

Tables: `incidents_incident`, `incidents_exposure` (a frozen answer, with a version), `incidents_cohort` (people of one jurisdiction with the
same elements), `incidents_exposedsubject` (one row per exposed person), `incidents_storereach` (each store: reached by which path, or kept
by which controls), `incidents_fact` (append-only).

Terms: *incident*, *exposure* as NIST SP 800-61r3 uses them. An element is *clear* if the intruder could read it, *sealed* if it lay encrypted
under a key the intruder does not hold. States: reachable < accessed < exfiltrated.

Promises: an incident is declared by two people; an exposure is frozen by one INSERT ... SELECT in one transaction with its evidence, and
its counts close (people = sum of the cohorts = rows); it is never changed afterwards, a later scope makes the next version.
"""
