"""Decisions of the obligations room, all pure: the duty engine, clocks, law versions, the order of acts, severity."""

from .engine import ENTITY_DEFAULT, assess
from .severity import severity

__all__ = ["ENTITY_DEFAULT", "assess", "severity"]
