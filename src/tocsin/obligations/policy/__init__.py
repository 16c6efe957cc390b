"""Decisions of the obligations room, all pure: the duty engine, clocks, law versions, the order of acts, severity."""

from .engine import ENTITY_DEFAULT, assess
from .estate import document_of, facts_of, fault_of_answer
from .facts import read
from .severity import severity

__all__ = ["ENTITY_DEFAULT", "assess", "document_of", "facts_of", "fault_of_answer", "read", "severity"]
