"""Accuracy and cost of the recognition of bounces: `./run bench classify [--folder FOLDER] [--rounds N]`.

FOLDER holds mails and `labels.json` (default: the development set beside the checkout). Bars: recipients exact >= 0.97, class >= 0.97,
hard/soft >= 0.95, reason >= 0.90, nothing that is no bounce called one; 1,500 mails per second of CPU. Precision of "hard" comes first: a
wrong one means that a person is not written to again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FOLDER = ROOT.parent / "shared" / "data" / "bounces"
NO_BOUNCE = {"feedback": "complaint", "vacation": "auto", "delivered": "auto"}
BARS = {"recipients_exact": 0.97, "class": 0.97, "hard_soft": 0.95, "reason": 0.90}
PER_S = 1500


def scored(folder: Path) -> dict[str, Any]:
    """Return the shares of right answers over the labelled mails, and how many were wrong in the ways that hurt."""
    from tocsin.mail import queries
    from tocsin.mail.types import InboundKind

    right = dict.fromkeys(BARS, 0)
    of = dict.fromkeys(BARS, 0)
    wrong = {"no_bounce_called_bounce": 0, "soft_called_hard": 0, "called_hard": 0}
    for label in json.loads((folder / "labels.json").read_text()):
        found = queries.classify((folder / label["file"]).read_bytes())
        if not label["labelled"]:
            continue
        wanted = label["recipients"]
        if wanted[0]["reason"] in NO_BOUNCE:
            wrong["no_bounce_called_bounce"] += found.kind is InboundKind.BOUNCE
            continue
        of["recipients_exact"] += 1
        right["recipients_exact"] += len(found.recipients) == len(wanted)
        for i, w in enumerate(wanted):
            got = found.recipients[i] if i < len(found.recipients) else None
            for name, known, is_right in (
                ("class", w["status"], got is not None and got.status[:1] == w["status"][:1]),
                ("hard_soft", True, got is not None and got.hard == w["hardbounce"]),
                ("reason", w["reason"], got is not None and got.reason == w["reason"]),
            ):
                if known:
                    of[name] += 1
                    right[name] += is_right
            wrong["called_hard"] += got is not None and got.hard
            wrong["soft_called_hard"] += got is not None and got.hard and not w["hardbounce"]
    return {
        **{name: round(right[name] / of[name], 4) for name in BARS},
        **wrong,
        "mails": of["recipients_exact"],
        "recipients": of["reason"],
    }


def cost(folder: Path, rounds: int) -> float:
    """Return mails per second of CPU, over all mails of the folder: the median round."""
    from tocsin.mail import queries

    mails = [path.read_bytes() for path in sorted(folder.glob("*.eml"))]
    found = []
    for _ in range(rounds):
        began = time.process_time()
        for raw in mails:
            queries.classify(raw)
        found.append(len(mails) / (time.process_time() - began))
    return statistics.median(found)


def main() -> None:
    """Print the figures; write bench/results/classify.json."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--folder", type=Path, default=FOLDER)
    arguments.add_argument("--rounds", type=int, default=5)
    chosen = arguments.parse_args()
    if not (chosen.folder / "labels.json").exists():
        raise SystemExit(f"no labelled mails in {chosen.folder}")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tocsin.settings")
    import django

    django.setup()
    score, per_s = scored(chosen.folder), cost(chosen.folder, chosen.rounds)
    for name, value in score.items():
        print(f"  {name:24} {value}" + (f"  (bar {BARS[name]})" if name in BARS else ""))
    print(f"  mails per second of CPU  {per_s:.0f}  (bar {PER_S})")
    result = {
        "bench": "classify",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": [round(x, 1) for x in os.getloadavg()],
        "python": platform.python_version(),
        "set": "development" if chosen.folder == FOLDER else "another",
        **score,
        "mails_per_cpu_s": round(per_s),
    }
    (ROOT / "bench" / "results" / "classify.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
