"""Decisions of the desk. Pure: texts and numbers in, decisions out."""
