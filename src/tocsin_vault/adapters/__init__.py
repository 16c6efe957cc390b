"""Adapters of the key service, one file per service; see tocsin_vault/port.py."""
