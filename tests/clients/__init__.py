"""What a company installs beside its own log-in, run against the gate's real process."""
