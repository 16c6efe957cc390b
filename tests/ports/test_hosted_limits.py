"""The documented limits of hosted providers, and the table that the how-to shows of them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tocsin.kernel import wiring

ROOT = Path(__file__).parents[2]
FILE = ROOT / "src/tocsin/credentials/adapters/hosted_limits.toml"


def test_every_limit_names_its_source_and_day() -> None:
    for name, row in tomllib.loads(FILE.read_text()).items():
        assert row["rate_per_s"] > 0, name
        assert row["source"], name
        assert row["read_at"].year >= 2026, name
        assert row["note"], name


def test_the_how_to_shows_what_the_file_gives() -> None:
    limits = wiring.load("tocsin.credentials.adapters._hosted.limits")()
    spoken = wiring.load("tocsin.credentials.adapters._hosted.spoken")
    text = (ROOT / "docs/how-to/hosted-login.md").read_text()
    shown = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in limits and len(cells) == 5:
            shown[cells[0]] = tuple(cells[1:4])
    assert shown == {name: (f"{limit.rate_per_s:g}", f"{limit.accounts_per_s():.3g}", spoken(24_000_000 / limit.accounts_per_s()))
                     for name, limit in limits.items()}  # fmt: skip


def test_the_how_to_names_every_adapter() -> None:
    text = (ROOT / "docs/how-to/hosted-login.md").read_text()
    ours = {"cognito", "auth0", "okta", "entra", "keycloak", "scim", "redis_sessions", "signed_cookies", "jwt_kid"}
    assert ours <= set(re.findall(r"`([a-z0-9_]+)`", text))
    for module in ours:
        assert wiring.load(f"tocsin.credentials.adapters.{module}.Adapter").kind
