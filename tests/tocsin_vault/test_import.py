"""Import through the real command: counts close, tokens are stable, rejects and the data folder hold no number."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import shutil
from pathlib import Path

import pytest

from tests.tocsin_vault.parts import ROOT, Vault, card_rows, write_cards
from tocsin_vault import places


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as f:
        return list(csv.DictReader(f))


def test_counts_close_and_a_second_import_gives_the_same_tokens(vault: Vault) -> None:
    rows = card_rows(6_000, seed=1)  # more than one batch
    rows[10] = ("C-shared", rows[9][1], *rows[9][2:])  # a card that two customers share
    bad = [
        ("B1", "4111111111111112", "2031-01", "visa"),
        ("B2", rows[0][1], "2031-14", rows[0][3]),
        (rows[0][1], rows[1][1], "2031-01", rows[1][3]),
        ("B4", rows[2][1], "2031-01", "acme"),
    ]
    file = write_cards(vault.work / "cards.csv", [*rows[:3000], *bad, *rows[3000:]])
    with file.open("a") as f:
        f.write('\nonly,three,columns\n"B6,4111111111111111,2031-01,visa\n\n')
    rejects = vault.work / "rejects.csv"
    first = vault.take(file, "a.csv", "--rejects", rejects)
    assert (first["read"], first["accepted"], first["rejected"], first["new"]) == (6006, 6000, 6, 5999)
    assert first["read"] == first["accepted"] + first["rejected"]
    tokens = read(vault.work / "a.csv")
    assert [t["customer_id"] for t in tokens] == [r[0] for r in rows]
    assert [t["last4"] for t in tokens] == [r[1][-4:] for r in rows]
    assert tokens[9]["token"] == tokens[10]["token"]
    assert len({t["token"] for t in tokens}) == 5999
    assert (vault.work / "a.csv").stat().st_mode & 0o777 == 0o600
    assert (vault.work / "a.csv").stat().st_uid == vault.work.stat().st_uid
    # Each reject names line and field, and no value of any row.
    assert [(r["line"], r["field"]) for r in read(rejects)] == [
        ("3002", "card_number"),
        ("3003", "expiry_month"),
        ("3004", "customer_id"),
        ("3005", "brand"),
        ("6007", "row"),
        ("6008", "row"),
    ]
    assert not re.search(r"[0-9]{5,}", rejects.read_text())
    again = vault.take(file, "b.csv")
    assert (again["accepted"], again["new"]) == (6000, 0)
    assert (vault.work / "b.csv").read_text() == (vault.work / "a.csv").read_text()
    assert vault.run("status")["cards"] == 5999
    with vault.serving():  # while somebody serves, the same command hands the open files over
        served = vault.take(file, "c.csv")
        assert (served["accepted"], served["rejected"], served["new"]) == (6000, 6, 0)
        assert vault.run("status")["serving"] is True
    assert (vault.work / "c.csv").read_text() == (vault.work / "a.csv").read_text()
    assert not list(vault.work.glob("*.part"))


def test_a_wrong_file_is_refused_whole_with_all_faults(vault: Vault) -> None:
    file = vault.work / "cards.csv"
    file.write_text("customer_id,card_number,cvv,Security Code\nC1,4111111111111111,123,123\n")
    error = vault.take(file, code=2)["error"]
    assert error["kind"] == "bad_input"
    assert [f["field"] for f in error["faults"]] == ["expiry_month", "brand", "cvv", "security_code"]
    assert not (vault.work / "tokens.csv").exists()
    file.write_bytes(b"")
    assert len(vault.take(file, code=2)["error"]["faults"]) == 4
    assert vault.take(vault.work / "absent.csv", code=2)["error"]["faults"][0]["field"] == "file"
    assert vault.run("status")["cards"] == 0
    # The same command with a right file works: the refusals above were about the file.
    assert vault.take(write_cards(file, card_rows(3, seed=2)))["accepted"] == 3


def test_no_number_rests_anywhere_in_the_vaults_folder(vault: Vault) -> None:
    """Every file of the vault, WAL and logs included, against a control table of plain numbers in the same cluster."""
    rows = card_rows(3_000, seed=3)
    numbers = {r[1] for r in rows}
    vault.take(write_cards(vault.work / "cards.csv", rows))
    assert found_in(vault.folder, numbers) == set()
    assert encoded_in(vault.folder, sorted(numbers)[:10]) == []
    control = sorted(numbers)[:50]
    with vault.serving():
        vault.sql("CREATE TABLE control AS SELECT unnest(ARRAY[" + ",".join(f"'{n}'" for n in control) + "]) AS n; CHECKPOINT")
        vault.sql(f"INSERT INTO control VALUES ('{hashlib.sha256(control[0].encode()).hexdigest()}'); CHECKPOINT")
    assert found_in(vault.folder, numbers) == set(control)
    assert encoded_in(vault.folder, control[:1]) != []


def files_of(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file()]


def found_in(folder: Path, numbers: set[str]) -> set[str]:
    found = set()
    for file in files_of(folder):
        for run in re.findall(rb"[0-9]{13,}", file.read_bytes()):
            text = run.decode()
            found |= {text[i : i + n] for n in (15, 16) for i in range(len(text) - n + 1)} & numbers
    return found


def encoded_in(folder: Path, numbers: list[str]) -> list[str]:
    """Return names of encodings under which a number was found: other spellings, and digests without a key."""
    needles = {}
    for number in numbers:
        raw = number.encode()
        needles |= {
            raw[::-1]: "reversed",
            raw.hex().encode(): "hex",
            number.encode("utf-16-le"): "utf-16",
            base64.b64encode(raw).rstrip(b"="): "base64",
        }
        for name in ("md5", "sha1", "sha256", "sha512"):
            digest = hashlib.new(name, raw)
            needles |= {digest.digest(): name, digest.hexdigest().encode(): f"{name} hex"}
    everything = b"\n".join(f.read_bytes() for f in files_of(folder))
    return [name for needle, name in needles.items() if needle in everything]


@pytest.mark.skipif(not ROOT, reason="run as root: only then is the vault another user")
def test_a_home_that_the_vaults_user_cannot_enter(tmp_path: Path) -> None:
    """pytest's folders are 0700: the vault goes elsewhere, and the estate's folder says where. Its path is also too long for a socket."""
    home = tmp_path / ("deep" * 20)
    home.mkdir()
    vault = Vault(home, tmp_path)
    vault.run("init")
    folder = vault.folder
    try:
        assert folder.parent == places.ROOT_HOME
        assert vault.take(write_cards(tmp_path / "cards.csv", card_rows(5, seed=4)))["accepted"] == 5
        assert vault.run("init")["created"] is False
        assert vault.run("status")["cards"] == 5
    finally:
        shutil.rmtree(folder)


def test_a_deep_home_serves_from_a_short_folder(vault: Vault) -> None:
    deep = vault.home.parent / ("d" * 60) / ("e" * 60)
    deep.parent.mkdir(mode=0o755)
    deep.mkdir(mode=0o755)
    other = Vault(deep, vault.work)
    other.run("init")
    assert len(str(other.socket)) <= 107
    with other.serving():
        assert other.answers()
