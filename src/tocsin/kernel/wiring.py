"""Adapters by dotted path: configuration names them, nobody imports them."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import BadInput


def load(dotted: str) -> Any:
    """Return the object named `package.module.Name`. Raises BadInput if there is none."""
    module, _, name = dotted.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as e:
        raise BadInput.of("adapter", dotted, f"the dotted path of an adapter ({e})") from e
