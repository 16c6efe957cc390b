"""Tocsin: a breach-response system. Start reading at `drills/trip.py`, then any room's `actions.py`."""
