"""Migrations of the surge room."""
