"""Tests of the card vault: real processes, a real cluster, and as root a real second user."""
