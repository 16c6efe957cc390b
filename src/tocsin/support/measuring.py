"""The classifier measured on labelled questions."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Fault

from .policy import classify

ROWS_MAX = 200_000
BATCH = 500
FAULTS_MAX = 20


def evaluate(train_csv: Path, test_csv: Path, *, shots: int | None, seed: int) -> dict[str, Any]:
    """Fit on the one file, measure on the other; see `queries.evaluate`."""
    if shots is not None and shots < 1:
        raise BadInput.of("shots", shots, "1 or more")
    train, test = _read(train_csv), _read(test_csv)
    if shots is not None:
        by_label: dict[str, list[str]] = defaultdict(list)
        for text, label in train:
            by_label[label].append(text)
        train = [(t, label) for label, texts in sorted(by_label.items()) for t in _draw(texts, shots, seed)]
    classifier = classify.fit([(label, text) for text, label in train])
    places = {name: i for i, name in enumerate(classifier.names)}
    first = third = 0
    begun = clock.monotonic()
    for start in range(0, len(test), BATCH):
        batch = test[start : start + BATCH]
        order = (-classifier.probabilities([text for text, _ in batch])).argsort(axis=1, kind="stable")[:, :3]
        for row, (_, label) in zip(order.tolist(), batch, strict=True):
            place = places.get(label, -1)
            first += row[0] == place
            third += place in row
    seconds = clock.monotonic() - begun
    return {
        "n": len(test),
        "accuracy": first / len(test),
        "top3": third / len(test),
        "msgs_per_s": round(len(test) / max(seconds, 1e-9), 1),
    }


def _draw(texts: list[str], shots: int, seed: int) -> list[str]:
    """Return `shots` of the texts, the same for the same seed."""
    return sorted(texts, key=lambda t: hashlib.sha256(f"{seed}|{t}".encode()).digest())[:shots]


def _read(path: Path) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    faults: list[Fault] = []
    try:
        with path.open(newline="", encoding="utf-8") as f:
            for row in csv.reader(f):
                if len(row) != 2 or not row[1].strip():
                    faults.append(Fault(path.name, f"{len(row)} fields", "text,label", len(rows) + len(faults) + 1))
                else:
                    rows.append((row[0], row[1].strip()))
                if len(faults) >= FAULTS_MAX or len(rows) > ROWS_MAX:
                    break
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise BadInput.of(str(path), str(e), "a CSV file in UTF-8") from None
    if faults or not 1 < len(rows) <= ROWS_MAX:
        raise BadInput(faults or [Fault(str(path), f"{len(rows)} lines", f"a heading and 1 to {ROWS_MAX} lines")])
    return rows[1:]
