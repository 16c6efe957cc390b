"""The file of vetted answers: checked as a whole, then loaded as new versions."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tocsin.kernel.errors import BadInput, Fault

from .policy import redact

QUESTIONS_MAX, EXAMPLES_MIN, EXAMPLES_MAX, CHARS_MAX = 500, 3, 1_000, 10_000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_MERGE_FIELD = re.compile(r"\{\{|\}\}|\{%|%\(|\$\{|<%")


@dataclass(frozen=True, slots=True)
class Vetted:
    """One question of the file with its answer."""

    name: str
    title: str
    never_bulk: bool
    examples: tuple[str, ...]
    answer: str


def read(path: Path) -> list[Vetted]:
    """Return what the file holds. Raises BadInput with every fault: nothing is loaded from a file that has one."""
    try:
        raw = tomllib.loads(path.read_text())
    except OSError as e:
        raise BadInput.of(str(path), e.strerror or str(e), "a file that can be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise BadInput.of(str(path), str(e), "valid TOML") from None
    entries = raw.get("question")
    if set(raw) != {"question"} or not isinstance(entries, list) or not 0 < len(entries) <= QUESTIONS_MAX:
        raise BadInput.of(str(path), sorted(raw), f"1 to {QUESTIONS_MAX} tables [[question]] and nothing else")
    faults: list[Fault] = []
    found = [_one(f"question {n}", entry, faults) for n, entry in enumerate(entries, 1)]
    names = [v.name for v in found]
    faults += [Fault("name", repr(n), "each name once") for n in sorted({n for n in names if names.count(n) > 1})]
    if faults:
        raise BadInput(faults)
    return found


def _one(where: str, entry: Any, faults: list[Fault]) -> Vetted:
    if not isinstance(entry, dict):
        faults.append(Fault(where, repr(entry), "a table"))
        return Vetted("", "", False, (), "")
    name, title, answer = (entry.get(k) for k in ("name", "title", "answer"))
    examples, never = entry.get("examples"), entry.get("never_bulk", False)
    unknown = set(entry) - {"name", "title", "answer", "examples", "never_bulk"}
    if unknown:
        faults.append(Fault(where, repr(sorted(unknown)), "the keys name, title, answer, examples, never_bulk"))
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "background":
        faults.append(Fault(f"{where}, name", repr(name), "a lower-case word other than background"))
    if not isinstance(title, str) or not title.strip():
        faults.append(Fault(f"{where}, title", repr(title), "a line of text"))
    if not isinstance(never, bool):
        faults.append(Fault(f"{where}, never_bulk", repr(never), "true or false"))
    if not isinstance(answer, str) or not 0 < len(answer.strip()) <= CHARS_MAX:
        faults.append(Fault(f"{where}, answer", type(answer).__name__, f"a text of 1 to {CHARS_MAX} characters"))
    elif _MERGE_FIELD.search(answer) or redact.redact(answer).cards:
        faults.append(Fault(f"{where}, answer", "a merge field or a card number", "a text that is the same for everybody"))
    if (
        not isinstance(examples, list)
        or not EXAMPLES_MIN <= len(examples) <= EXAMPLES_MAX
        or not all(isinstance(e, str) and e.strip() for e in examples)
    ):
        faults.append(Fault(f"{where}, examples", repr(examples)[:80], f"{EXAMPLES_MIN} to {EXAMPLES_MAX} phrasings"))
        examples = []
    return Vetted(str(name), str(title), never is True, tuple(examples), str(answer).strip())
