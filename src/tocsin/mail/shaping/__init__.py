"""What receivers allow a sender, and what to do when they object: a table (`receivers.toml`), and pure decisions over it (`policy`).

Terms: a *shape* is what a sender allows itself towards one receiver; a *reaction* turns a reply that says "slow down" into a pause or lower
limits for a time; a *governor* adapts the rate (additive increase, multiplicative decrease); the *breaker* pauses a lane whose addresses
prove bad before a relay suspends the whole account.
"""
