"""Connectors to identity systems and session stores; each is made as `Class(name, options, secret)` from a table [connectors.NAME]."""
