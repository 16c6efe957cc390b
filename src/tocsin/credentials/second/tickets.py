"""Sealed tickets: what a browser carries for us between two requests and can neither read nor change."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime, timedelta
from typing import Any

from tocsin.kernel.errors import BadInput, NotFound
from tocsin.kernel.sealing import open_sealed, seal

TICKET_CHARS_MAX = 2000
KEY = "factor"


def make(purpose: str, *, at: datetime, life: timedelta, **content: Any) -> str:
    """Return a ticket with JSON values, good for one purpose until `at + life`."""
    text = json.dumps({"until": (at + life).timestamp(), **content})
    return base64.urlsafe_b64encode(seal(text, context=f"credentials.{purpose}", name=KEY)).decode()


def read(purpose: str, ticket: str, *, at: datetime) -> dict[str, Any]:
    """Return the content of a ticket. Raises NotFound for one that is forged, for another purpose, or too old: one answer for all."""
    try:
        if len(ticket) > TICKET_CHARS_MAX:
            raise ValueError
        raw = base64.b64decode(ticket.encode("ascii"), altchars=b"-_", validate=True)
        content: dict[str, Any] = json.loads(open_sealed(raw, context=f"credentials.{purpose}", name=KEY).reveal())
    except (BadInput, ValueError, binascii.Error):
        raise NotFound("this step was started too long ago, or somewhere else: please start again") from None
    if content["until"] < at.timestamp():
        raise NotFound("this step was started too long ago, or somewhere else: please start again")
    return content
