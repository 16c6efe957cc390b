"""Site under construction."""
