"""The cutover from arm to seal, the leases of the nodes that let people in, and the canaries that prove it."""
