"""Incidents: declare one, freeze whose what was reachable, record what is known of it, close it.

Tables: `incidents_incident`, `incidents_exposure` (one frozen answer per version), `incidents_storereach` (each store: reached by which
path, or kept by which controls), `incidents_cohort`, `incidents_exposedsubject` (one row per person and version), `incidents_fact`,
`incidents_containment`.

Terms. *Exposure*: the frozen answer to "whose what was reachable"; an investigation that learns more freezes another version, none is
changed. *Cohort*: people of one jurisdiction with the same elements in clear, the same sealed, and the same proof state; laws meet cohorts.
*State* of proof: reachable < accessed < exfiltrated; more than reachable needs a fact with an exhibit. *Fact*: a statement with author,
time and exhibit; a newer one supersedes it, none is changed. Facts name no person. *Determination*: what two people state of a reached system that has
credentials in hand: it is contained.

Promises. Two people declare. Missing information protects nobody: an element that the data map says lies in a reached store, and of which
the register says nothing, counts for everybody held there; an element the register knows and the map does not counts as clear. The people
of an exposure are those of its cohorts, one row each, checked before the freeze commits. The timeline is the log, no second store.
"""
