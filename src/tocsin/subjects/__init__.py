"""The register of data subjects: who they are, how they are reached, where they live, which stores hold what of them.

Tables: `subjects_subject` (one per account), `subjects_contact` (sealed e-mail, phone, addresses), `subjects_holding` and
`subjects_holdingstore` (dictionary of holding profiles), `subjects_card` (token and last four digits, never a card number),
`subjects_contactchange` (what a contact point was before it changed), `subjects_contactfreeze`, `subjects_import`, `subjects_reject`.

Terms: a *holding profile* is the tuple (store -> element mask) of one person; thousands of profiles describe millions of people, so that
an incident is scoped with a GROUP BY. *Residence* is the jurisdiction by the best address known, with its *basis*. The *salt* of a subject
opens that person's leaves in the evidence log: `forget` deletes it.

Which elements a person's profile has follows from the filled columns of the customers file (mapping file, `[stores.*]`), OR-ed with the
card element of the store named in `[cards]` as soon as a token is attached. Both steps are set-wise and may be repeated in any order.

Promises: personal data is sealed before it reaches the database (context `subjects_subject|<id>|name`, `subjects_contact|<id>|<kind>`);
an e-mail address is found again by keyed digest alone; an import is one transaction, so a killed one leaves nothing; read = accepted +
rejected; who is said nothing new about (keyed digest of row and mapping) is left untouched. One file is imported at a time.
"""
