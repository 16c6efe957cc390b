"""What the practice post office saw of the desk's answers: who got one, and whose was the answer to another question."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

FINGERPRINT_CHARS = 60


@dataclass(frozen=True, slots=True)
class Seen:
    """People who wrote and got an answer; messages answered with the vetted answer to another question than theirs."""

    answered: int
    wrong: int


def answers_received(office: Callable[[str], dict[str, Any]], vetted_answers: Path, written: list[list[Any]]) -> Seen:
    """Ask the post office (its API by path) for the replies to these letters ([message id, address, kind, urgent])."""
    vetted = {_print(q["answer"]): q["name"] for q in tomllib.loads(vetted_answers.read_text())["question"]}
    kinds: dict[str, dict[str, str]] = {}
    for message_id, email, kind, _ in written:
        if kind != "auto":
            kinds.setdefault(email, {})[message_id] = kind
    answered = wrong = 0
    for email, asked in kinds.items():
        replies = [m for m in office(f"/api/messages?to={quote(email)}")["messages"] if m.get("in_reply_to") in asked]
        answered += bool(replies)
        for reply in replies:
            given = next((name for text, name in vetted.items() if text in _print(reply["text"], whole=True)), None)
            wrong += given is not None and given not in asked.values()
    return Seen(answered=answered, wrong=wrong)


def _print(text: str, *, whole: bool = False) -> str:
    """Return a text without white space, so that line breaks do not matter; its beginning alone unless `whole`."""
    squeezed = "".join(text.split())
    return squeezed if whole else squeezed[:FINGERPRINT_CHARS]
