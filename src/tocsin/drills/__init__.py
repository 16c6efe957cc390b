"""Rehearsal: synthetic customers, the practice post office, simulated people, scenarios and scoring.

No tables. A drill is an estate of its own that runs the same processes as a live one; this room supplies what the world would supply.
Terms: the *practice post office* is every receiver of mail at once, and the witness of who got what; a *personality* is the way one
provider treats its recipients (greylists, throttles, bounces, answers by itself); a *scenario* is a TOML file in `scenarios/`.
Start reading at `trip.py`. Promises: everything simulated follows from a seed, so a drill repeats; nothing here reaches beyond loopback.
"""
