"""Logs as JSON lines on standard error, with personal data scrubbed on the way out.

Whoever logs a value that may be personal wraps it in `Private`; the scrubber below is the net under that, for text from libraries.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

ADDRESS = re.compile(r"[^\s<>\"'(),:;]+@[^\s<>\"'(),:;]+\.[a-zA-Z]{2,}")
CARD = re.compile(r"\b(?:\d[ -]?){12,18}\d\b")
SECRET_IN_URL = re.compile(r"(postgres(?:ql)?://[^:/@\s]+):[^@\s]+@")
# What PostgreSQL adds to an error quotes rows, keys and statements: it goes, up to the next error of the chain. A value may hold line ends.
DETAIL = re.compile(
    r"(^[ |+]*|\\n)(?:DETAIL|CONTEXT|HINT|QUERY|STATEMENT|LINE \d+):.*?"
    r"(?=\n\s*\n[ |]*(?:The above exception|During handling)|\n[ |+-]*Traceback \(|\Z)",
    re.MULTILINE | re.DOTALL,
)
BAD_INPUT = re.compile(r"(invalid input (?:syntax|value) for [^:\n]+: ).*")


def scrub(text: str) -> str:
    """Return the text with e-mail addresses, card-like numbers, passwords in connection strings and what PostgreSQL quotes masked."""
    text = BAD_INPUT.sub(r"\1<value>", DETAIL.sub(r"\1<detail dropped>", text))
    return CARD.sub("<number>", ADDRESS.sub("<address>", SECRET_IN_URL.sub(r"\1:***@", text)))


def _scrubbed(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = scrub(value)
    return event


def configure(process: str, *, level: int = logging.INFO) -> None:
    """Send every logger's records to standard error as scrubbed JSON lines that name the process."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _scrubbed,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(process=process)
