"""What connectors share: their options, their registry, their state in our tables, and the acts of a person over them.

An adapter (`credentials/adapters/`) speaks to one system and knows nothing of our tables; this folder keeps where each target stands, its
sealed secret and its canaries, hands new passwords over, and lets nobody be forgotten when a target fails.
"""
