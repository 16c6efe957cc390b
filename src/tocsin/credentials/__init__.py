"""End every credential of an older epoch in one commit; carry everybody to a new password.

Tables: `credentials_population` (customers, staff), `credentials_epoch` (the oldest epoch still valid per population, cohort and class),
`credentials_account`, `credentials_credential`, `credentials_session`, `credentials_resettoken`, `credentials_bearer` (remember_me, refresh,
api_token), `credentials_factor` (totp, recovery_code, passkey), `credentials_steptries`; `credentials_cutover`, `credentials_raised`, `credentials_cutoverack`,
`credentials_nodelease`, `credentials_canary`, `credentials_erasure`, `credentials_heldhashes`; `credentials_import`, `credentials_reject`;
`credentials_lift`, `credentials_apikey` (folder `gate/`); `credentials_target`, `credentials_connectorsecret`, `credentials_plantedcanary`,
`credentials_outbox` (folder `connectors/`); `credentials_room` and what stands beside it (folder `room/`); `credentials_letterrequest`,
`credentials_affectedanswer`, `credentials_contactrequest`.
Views `credentials_live_*`: the only surface through which a process reads a credential, and one that cannot yield a dead one. Functions (in
the migrations named `..._functions` and 0002, 0003, 0011, 0100): the only way the public process writes.

Terms: *epoch*, an integer that only rises; a credential carries the epoch read in the statement that made it and lives while that is not
below its class's. *Class*: password, session, remember_me, reset_token, ... *Cutover*: arm (a dry run), commit (two people), sealed (each
node has seen it or lost its lease), abort. *Node*: a process that lets people in; it holds a lease of two seconds or lets nobody in.
*Cohort*: accounts that are cut over together; everybody starts in 0. *Erasure*: the end of the way back; old hashes are blanked.
*Canary*: an account of ours whose secrets we know, tried before and after.
*Code*: 28 letters and digits on paper, a reset token for people without a mailbox, made when it is printed. *Answer*: which kinds of
somebody's data an incident reached, under the digest of a mailed token.

Promises: no log-in that begins after a commit returns succeeds with an older credential, and none that began before stays usable. A number
once used as an epoch is never used again, in no cohort of its population. Moving an account between cohorts neither ends nor revives a
credential. A reset link works once. Addresses and passwords reach neither this room's tables nor its jobs; the
one exception, an address that somebody wants to change to, is sealed for the worker and emptied once it is carried out.

The waiting room in front of the form, and the limits on strangers, are `room/`, with tables of its own.

GAP: before the cutover, a log-in with a bcrypt or PBKDF2 hash takes longer than one for an unknown address; after it both take the same.
"""
