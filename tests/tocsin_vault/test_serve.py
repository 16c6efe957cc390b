"""The server: who may ask, what is refused and logged, log before release, seal, and death of every kind."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.tocsin_vault.parts import ROOT, Client, Vault, card_rows, pause_until, write_cards
from tocsin_tlog.verify import verify_log

FOREVER = ("--from", "2020-01-01T00:00:00Z", "--to", "2099-01-01T00:00:00Z")


@pytest.fixture
def cards(vault: Vault) -> list[tuple[str, str]]:
    """Give (token, number) of five imported cards."""
    rows = card_rows(5, seed=7)
    vault.take(write_cards(vault.work / "cards.csv", rows))
    tokens = [line.split(",")[1] for line in (vault.work / "tokens.csv").read_text().splitlines()[1:]]
    return list(zip(tokens, (r[1] for r in rows), strict=True))


def test_tokens_go_in_and_out_but_numbers_only_under_a_grant(vault: Vault, cards: list[tuple[str, str]]) -> None:
    token, number = cards[0]
    wanted = {"op": "detokenise", "token": token, "purpose": "refund", "ticket": "T-1"}
    with vault.serving(), Client(vault.socket) as client:
        assert client.ask(op="exists", token=token) == {"exists": True}
        assert client.ask(op="exists", token="00" * 16) == {"exists": False}
        assert client.ask(op="tokenise", card_number=number, expiry_month="12/31", brand="") == {"token": token, "last4": number[-4:]}
        fresh = client.ask(op="tokenise", card_number="4111 1111 1111 1111", expiry_month="12/31", brand="visa")
        assert client.ask(op="exists", token=fresh["token"]) == {"exists": True}
        for purpose in ("refund", "settlement"):
            assert client.ask(**(wanted | {"purpose": purpose}))["error"]["kind"] == "refused"
        status = vault.run("status")
        assert (status["released"], status["refused"], status["cards"]) == (0, 2, 6)
        vault.grant("refund", per_minute=2)
        assert client.ask(**wanted) == {"card_number": number}
        assert client.ask(**(wanted | {"purpose": "settlement"}))["error"]["kind"] == "refused"  # granted for another purpose only
        assert client.ask(**(wanted | {"token": "00" * 16}))["error"]["kind"] == "refused"
        assert client.ask(**wanted) == {"card_number": number}
        assert "rate" in client.ask(**wanted)["error"]["message"]
        result = vault.run("audit", *FOREVER)
        assert (result["released"], result["consistent"], len(result["checkpoints"])) == (2, True, 2)
        assert result["checkpoints"][0]["size"] == 0
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        after = vault.run("audit", "--from", tomorrow.isoformat(), "--to", (tomorrow + timedelta(days=1)).isoformat())
        assert (after["released"], after["consistent"]) == (0, True)
    assert vault.run("status")["released"] == 2


def test_malformed_requests_get_answers_and_harm_nobody(vault: Vault, cards: list[tuple[str, str]]) -> None:
    with vault.serving(), Client(vault.socket) as other:
        for line in (
            b"\n",
            b"[]\n",
            b"{}\n",
            b'{"op": 1}\n',
            b'{"op": "drop"}\n',
            b"\xff\xfe\n",
            b'{"op": "exists", "token": 5}\n',
            b'{"op": "exists", "token": "zz"}\n',
            b'{"op": "tokenise", "card_number": ["4"]}\n',
            b"[" * 3000 + b"\n",
            b'{"op": "tokenise", "card_number": "4111111111111112", "expiry_month": "12/31", "brand": ""}\n',
            b'{"op": "detokenise", "token": "' + b"0" * 32 + b'", "purpose": "\\ud800", "ticket": "t"}\n',
            b'{"op": "detokenise", "token": "' + b"0" * 32 + b'", "purpose": "p", "ticket": "4111111111111111"}\n',
        ):
            with Client(vault.socket) as client:
                answer = client.send(line)
                assert answer["error"]["kind"] == "bad_input", line
                assert "41111111" not in str(answer)
        with Client(vault.socket) as client, contextlib.suppress(ConnectionError):
            assert client.send(b"x" * 100_000 + b"\n").get("error", {"kind": "bad_input"})["kind"] == "bad_input"
        assert other.ask(op="exists", token=cards[0][0]) == {"exists": True}


def test_a_panic_seal_holds_over_restarts_until_both_components_come(vault: Vault, cards: list[tuple[str, str]]) -> None:
    token, number = cards[0]
    keys = vault.folder / "keys"
    with vault.serving(), Client(vault.socket) as client:
        vault.grant("refund")
        assert client.ask(op="detokenise", token=token, purpose="refund", ticket="T") == {"card_number": number}
        assert vault.run("seal") == {"sealed": True}
        for request in (
            {"op": "detokenise", "token": token, "purpose": "refund", "ticket": "T"},
            {"op": "exists", "token": token},
            {"op": "tokenise", "card_number": number, "expiry_month": "12/31", "brand": ""},
        ):
            assert client.ask(**request)["error"]["kind"] == "refused"
        assert vault.take(vault.work / "cards.csv", "x.csv", code=3)["error"]["kind"] == "refused"
    with vault.serving(), Client(vault.socket) as client:
        assert vault.run("status")["sealed"] is True
        assert client.ask(op="exists", token=token)["error"]["kind"] == "refused"
        wrong = vault.work / "wrong"
        wrong.write_text("ab" * 32)
        assert vault.run("unseal", "--component", keys / "kek.1", "--component", wrong, code=3)["error"]["kind"] == "refused"
        assert vault.run("unseal", "--component", keys / "kek.1", code=2)["error"]["kind"] == "bad_input"
        assert vault.run("unseal", "--component", keys / "kek.2", "--component", keys / "kek.1") == {"sealed": False}
        assert client.ask(op="detokenise", token=token, purpose="refund", ticket="T") == {"card_number": number}
    assert vault.run("audit", *FOREVER)["released"] == 2


@pytest.mark.parametrize("served", [True, False])
def test_a_panic_seal_does_not_wait_for_an_import(vault: Vault, served: bool) -> None:
    file = write_cards(vault.work / "many.csv", card_rows(30_000, seed=9))
    command = [sys.executable, "-m", "tocsin_vault", "import", file, "--tokens", vault.work / "t.csv", "--home", vault.home, "--json"]
    entries = vault.folder / "log" / "entries"
    with vault.serving() if served else contextlib.nullcontext():
        before = entries.stat().st_size
        importing = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
        pause_until(lambda: entries.stat().st_size > before, "the import does not begin")
        assert vault.run("seal") == {"sealed": True}
        said, _ = importing.communicate(timeout=60)
        assert importing.returncode == 3
        assert "sealed" in said
    status = vault.run("status")
    assert status["sealed"] is True
    assert 0 < status["cards"] < 30_000
    assert not (vault.work / "t.csv").exists()


def test_a_component_in_escrow_means_a_sealed_vault(vault: Vault, cards: list[tuple[str, str]]) -> None:
    second = vault.folder / "keys" / "kek.2"
    away = vault.work / "kek.2"
    shutil.move(second, away)
    with vault.serving():
        assert vault.run("status")["sealed"] is True
        assert vault.run("unseal", "--component", vault.folder / "keys" / "kek.1", "--component", away) == {"sealed": False}
        assert vault.run("status")["sealed"] is False


def test_numbers_that_left_have_their_leaf_whenever_the_vault_is_killed(vault: Vault, cards: list[tuple[str, str]]) -> None:
    left: list[tuple[str, str]] = []
    known = dict(cards)

    def hammer() -> None:
        with contextlib.suppress(OSError, ValueError), Client(vault.socket) as client:
            for token in itertools.cycle(known):
                answer = client.ask(op="detokenise", token=token, purpose="refund", ticket="T")
                if not answer:
                    return  # the vault is dead
                left.append((token, answer["card_number"]))

    with vault.serving():
        vault.grant("refund", per_minute=100_000)
    for wanted in (60, 150, 240):
        with vault.serving() as server:
            threads = [threading.Thread(target=hammer) for _ in range(8)]
            for t in threads:
                t.start()
            pause_until(functools.partial(_longer, left, wanted), "nothing was released")
            server.kill()
            server.wait()
            for t in threads:
                t.join()
        result = vault.run("audit", *FOREVER)
        assert result["consistent"], result["faults"]
        assert result["released"] >= len(left)
    assert all(known[token] == number for token, number in left)
    assert vault.run("status")["released"] == result["released"]


def _longer(items: list[tuple[str, str]], than: int) -> bool:
    return len(items) > than


def test_killed_between_commit_and_log_the_leaves_are_made_up_from_the_database(vault: Vault, cards: list[tuple[str, str]]) -> None:
    log, before = vault.folder / "log", vault.work / "log-before"
    shutil.copytree(log, before)
    with vault.serving(), Client(vault.socket) as client:
        vault.grant("refund")
        for token, number in cards:
            assert client.ask(op="detokenise", token=token, purpose="refund", ticket="T") == {"card_number": number}
    owner = log.stat()
    for file in before.iterdir():
        shutil.copyfile(file, log / file.name)
    for file in log.iterdir():
        if not (before / file.name).exists():
            file.unlink()
        elif ROOT:
            os.chown(file, owner.st_uid, owner.st_gid)
    vkeys = (vault.folder / "log.vkey").read_text().splitlines()
    size = verify_log(log, vkeys).size
    result = vault.run("audit", *FOREVER)
    assert (result["released"], result["consistent"]) == (5, True)
    assert verify_log(log, vkeys).size == size + 5


def test_a_leaf_taken_out_or_changed_is_seen(vault: Vault, cards: list[tuple[str, str]]) -> None:
    with vault.serving(), Client(vault.socket) as client:
        vault.grant("refund")
        for token, _ in cards:
            client.ask(op="detokenise", token=token, purpose="refund", ticket="T")
    entries = vault.folder / "log" / "entries"
    whole = entries.read_bytes()
    assert vault.run("audit", *FOREVER)["released"] == 5
    at = len(whole) - 47 * 2
    with entries.open("r+b") as f:
        f.seek(at + 1)
        f.write((5).to_bytes(2, "big"))  # the last but one release becomes a refusal
    result = vault.run("audit", *FOREVER, code=1)
    assert not result["consistent"]
    with entries.open("r+b") as f:
        f.truncate(at)
    assert vault.run("audit", *FOREVER, code=6)["error"]["kind"] == "unavailable"


def test_terminated_it_is_gone_within_two_seconds_with_its_database(vault: Vault, cards: list[tuple[str, str]]) -> None:
    with vault.serving() as server:
        postmaster = vault.postmaster()
        started = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
        pause_until(lambda: not alive(postmaster), "the database server stays")
        assert time.monotonic() - started < 2
    assert vault.run("status")["cards"] == 5


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only: prctl")
@pytest.mark.parametrize("victim", ["parent", "vault", "database"])
def test_killed_nothing_is_left_and_it_starts_again(vault: Vault, cards: list[tuple[str, str]], victim: str) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'tocsin_vault', 'serve', '--home', sys.argv[1]])\n"
        "print(child.pid, flush=True)\nchild.wait()\ntime.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(vault.home)], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
    try:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        vault.wait_for_socket()
        postmaster = vault.postmaster()
        started = time.monotonic()
        os.kill({"parent": parent.pid, "vault": server, "database": postmaster}[victim], signal.SIGKILL)
        pause_until(lambda: not alive(server) and not alive(postmaster), f"something survived the death of the {victim}")
        assert time.monotonic() - started < 2
    finally:
        parent.kill()
        parent.communicate()
    with vault.serving(), Client(vault.socket) as client:
        assert client.ask(op="exists", token=cards[0][0]) == {"exists": True}


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    return False


def test_commands_say_what_is_wrong(vault: Vault, tmp_path: Path) -> None:
    assert Vault(tmp_path, tmp_path).run("status", code=4)["error"]["kind"] == "not_found"
    for pair in (("2012-01-15", "2012-01-16"), ("x", "y"), ("2012-01-16T00:00:00Z", "2012-01-15T00:00:00Z")):
        assert vault.run("audit", "--from", pair[0], "--to", pair[1], code=2)["error"]["kind"] == "bad_input"
    assert vault.run("init")["created"] is False
