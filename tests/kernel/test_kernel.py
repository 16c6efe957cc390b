"""Configuration, errors, sealing, private values and logs of the kernel."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernel import clock, config, logs
from tocsin.kernel.errors import BadInput, InvariantError, Refused, ensure
from tocsin.kernel.hosts import is_local
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import KEYS_OF, deposit, key, keyring, lookup_digest, open_deposit, open_sealed, seal

HERE = {"home": Path("/nowhere"), "database_url": "", "process": "operator"}


def test_configuration_is_refused_as_a_whole_with_all_faults() -> None:
    good = config.parse('[mail]\nrate_per_s = 5\n[estate]\nkind = "drill"\n', **HERE)  # type: ignore[arg-type]
    assert (good.mail.rate_per_s, good.estate.kind) == (5.0, "drill")
    with pytest.raises(BadInput) as caught:
        config.parse('[web]\npublic_port = 99999\nnonsense = 1\n[mail]\nrelay_host = 7\n[estate]\nkind = "toy"\n[other]\nx = 1\n', **HERE)  # type: ignore[arg-type]
    assert {f.field for f in caught.value.faults} == {"web.public_port", "web.nonsense", "mail.relay_host", "estate.kind", "other"}
    with pytest.raises(BadInput, match="valid TOML"):
        config.parse("[web", **HERE)  # type: ignore[arg-type]


@given(st.datetimes(timezones=st.just(clock.UTC)))
def test_microseconds_are_exact(at: clock.datetime) -> None:
    if at.year >= 1970:
        assert clock.from_us(clock.us(at)) == at


def test_private_shows_nothing() -> None:
    secret = Private("ada@shop.example")
    assert "ada" not in f"{secret}{secret!r}{[secret]}{secret:>9}"
    assert secret.reveal() == "ada@shop.example"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_invariants_hold_without_assert() -> None:
    ensure(True, "fine")
    with pytest.raises(InvariantError, match="broken"):
        ensure(False, "broken")


def test_what_is_sealed_opens_only_as_what_it_was(estate: Path) -> None:
    blob = seal("ada@shop.example", context="contact|1")
    assert b"ada" not in blob
    assert open_sealed(blob, context="contact|1").reveal() == b"ada@shop.example"
    for bad, context in (
        (blob, "contact|2"),
        (blob[:-1] + bytes([blob[-1] ^ 1]), "contact|1"),
        (b"", "contact|1"),
        (b"\x09" + blob[1:], "contact|1"),
    ):
        with pytest.raises(BadInput):
            open_sealed(bad, context=context)
    letter = deposit(b"raw mail", context="inbound")
    assert open_deposit(letter, context="inbound").reveal() == b"raw mail"
    for bad in (letter[:-1] + bytes([letter[-1] ^ 1]), letter[:20], b"\x01" + letter[1:]):
        with pytest.raises(BadInput):
            open_deposit(bad, context="inbound")
    assert lookup_digest("a", purpose="email") != lookup_digest("a", purpose="login")


def test_each_process_holds_its_own_keys_and_no_others(estate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "sealing" not in KEYS_OF["public"] | KEYS_OF["intake"] | KEYS_OF["sequencer"]
    assert [p for p, keys in KEYS_OF.items() if "log" in keys and p != "owner"] == ["sequencer"]
    monkeypatch.setenv("TOCSIN_PROCESS", "public")
    config.current.cache_clear()
    keyring.key.cache_clear()
    assert len(key("lookup").reveal()) == 32
    for name in ("sealing", "dkim", "log", "deposit", "message_id"):
        with pytest.raises(Refused, match="may not hold"):
            key(name)
    assert {p.stat().st_mode & 0o777 for p in (estate / "keys").glob("*.key")} == {0o600}


def test_logs_are_scrubbed(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    try:
        logs.configure("worker")
        logging.getLogger("tocsin.x").warning("ada@shop.example paid with 4111 1111 1111 1111 at postgresql://t:secret@127.0.0.1/x")
        try:
            raise ValueError("bob@shop.example")
        except ValueError:
            logging.getLogger("tocsin.x").exception("oops")
    finally:
        logging.getLogger().handlers[:] = before
    text = capsys.readouterr().err
    assert all(json.loads(line)["level"] for line in text.splitlines())
    for secret in ("ada", "bob@", "4111", "secret"):
        assert secret not in text


@pytest.mark.django_db
def test_a_database_error_in_the_log_quotes_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    """DETAIL, CONTEXT and LINE name the values; the error and its traceback stay."""
    statements = (
        "INSERT INTO guests VALUES ('Wilhelmina'), ('Wilhelmina')",
        "INSERT INTO guests VALUES (E'Wilhel\\n\\nmina Okonkwo')",
        "SELECT 'Wilhelmina'::int",
        "SELECT 'Wilhelmina' FROM nowhere",
        "DO $$ BEGIN PERFORM 'Wilhelmina'::uuid; END $$",
    )
    before = logging.getLogger().handlers[:]
    try:
        logs.configure("worker")
        with connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE guests (name text PRIMARY KEY CHECK (name NOT LIKE '%%Okonkwo%%')) ON COMMIT DROP")
            for statement in statements:
                try:
                    with transaction.atomic():
                        cursor.execute(statement)
                except DatabaseError as e:
                    logging.getLogger("tocsin.jobs").exception("job failed: %s", e)
                    logging.getLogger("tocsin.jobs").error("job failed: %r", e.__cause__)
    finally:
        logging.getLogger().handlers[:] = before
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(lines) == 2 * len(statements)
    text = json.dumps(lines)
    assert not [word for word in ("Wilhel", "Okonkwo", "mina") if word in text], text
    assert "duplicate key value" in lines[0]["event"]
    assert "direct cause" in lines[0]["exception"]
    assert "UniqueViolation" in lines[0]["exception"]
    assert "IntegrityError" in lines[0]["exception"]


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("192.0.2.1", False),
     ("localhost.example", False), ("127.0.0.1.example", False), ("", False)],
)  # fmt: skip
def test_only_loopback_is_this_machine(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_every_process_has_a_list_of_keys() -> None:
    assert set(KEYS_OF) == set(config.PROCESSES)


@pytest.mark.django_db(transaction=True)
def test_a_kept_connection_is_found_dead_without_a_round_trip_while_it_lives() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        kept = cursor.fetchone()[0]
    with psycopg.connect(connection.connection.info.dsn, password=connection.settings_dict["PASSWORD"], autocommit=True) as other:
        assert connection.is_usable()
        last = other.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", [kept]).fetchone()
        assert last == ("SELECT pg_backend_pid()",)  # Django's own check would have asked SELECT 1
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [kept])
    assert not connection.is_usable()
    connection.health_check_enabled, connection.health_check_done = True, False
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone()[0] != kept
