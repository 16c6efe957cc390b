"""Hashes of passwords: the formats of the past, the one of today, the bounded number of them at a time, and a file of old ones."""
