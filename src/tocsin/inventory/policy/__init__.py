"""Decisions of the inventory, all pure: read a data map, compute reach, explain what held."""

from .datamap import Categories, from_document, parse, to_document
from .reach import reach

__all__ = ["Categories", "from_document", "parse", "reach", "to_document"]
