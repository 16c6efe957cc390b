"""Hashes of passwords: the formats of the past, the one of today, and the bounded number of them at a time."""
