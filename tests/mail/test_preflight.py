"""What receivers look at before they take a mass mailing, asked of a real name server and a real relay on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import forget
from tests.mail.names import NameServer
from tests.ports.servers import Server
from tocsin.kernel.errors import Refused
from tocsin.mail import queries
from tocsin.mail.sender.spf import Spf, evaluate

SENDS_FROM = "192.0.2.10"
KEYS_AT = "tocsin1._domainkey.notice.shop.example"
Records = dict[tuple[str, str], list[str]]


def quoted(text: str) -> str:
    """Return a TXT record in presentation format, in pieces of at most 255 bytes."""
    return " ".join(f'"{text[i : i + 255]}"' for i in range(0, len(text), 255))


def good_records() -> Records:
    name, content = queries.dkim_record()
    assert name == KEYS_AT
    return {
        ("bounce.shop.example", "TXT"): [quoted("v=spf1 include:_relay.shop.example -all")],
        ("_relay.shop.example", "TXT"): [quoted("v=spf1 ip4:192.0.2.0/28 -all")],
        (KEYS_AT, "TXT"): [quoted(content)],
        ("_dmarc.shop.example", "TXT"): [quoted("v=DMARC1; p=reject")],
        ("10.2.0.192.in-addr.arpa", "PTR"): ["out.shop.example."],
        ("out.shop.example", "A"): [SENDS_FROM],
        ("bounce.shop.example", "MX"): ["10 mx.shop.example."],
        ("shop.example", "MX"): ["10 mx.shop.example."],
        ("notice.shop.example", "MX"): ["10 mx.shop.example."],
        ("mx.shop.example", "A"): ["192.0.2.20"],
    }


@pytest.fixture
def relay() -> Iterator[Server]:
    with Server() as server:
        yield server


def ask(home: Path, records: Records, relay: Server, *, extra: str = "", silent: bool = False) -> dict[str, tuple[bool, str]]:
    """Return (ok, what was found and what to do) of each check."""
    with NameServer(records, silent=silent) as names:
        text = f'[mail]\nrelay_port = {relay.port}\ndns_server = "{names.address}"\n'
        (home / "tocsin.toml").write_text(text + f'sending_addresses = "{SENDS_FROM}"\n' + extra)
        forget()
        return {c.name: (c.ok, f"{c.detail} {c.remedy}") for c in queries.preflight()}


def test_a_domain_that_is_in_order_passes(estate: Path, relay: Server) -> None:
    found = ask(estate, good_records(), relay)
    assert all(ok for ok, _ in found.values()), found
    assert set(found) == {"relay", "spf", "dkim", "dmarc", "alignment", "ptr", "bounces", "replies", "from", "quota"}
    assert relay.taken == []


BROKEN = {
    "no SPF record": (("bounce.shop.example", "TXT"), [], "spf"),
    "SPF that passes another address": (("_relay.shop.example", "TXT"), ['"v=spf1 ip4:198.51.100.1 -all"'], "spf"),
    "two SPF records": (("bounce.shop.example", "TXT"), ['"v=spf1 +all"', '"v=spf1 -all"'], "spf"),
    "no DKIM key": ((KEYS_AT, "TXT"), [], "dkim"),
    "another DKIM key": ((KEYS_AT, "TXT"), ['"v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"'], "dkim"),
    "a revoked DKIM key": ((KEYS_AT, "TXT"), ['"v=DKIM1; k=rsa; p="'], "dkim"),
    "no DMARC record": (("_dmarc.shop.example", "TXT"), [], "dmarc"),
    "a DMARC record without a policy": (("_dmarc.shop.example", "TXT"), ['"v=DMARC1; rua=mailto:a@shop.example"'], "dmarc"),
    "no pointer": (("10.2.0.192.in-addr.arpa", "PTR"), [], "ptr"),
    "a pointer that does not point back": (("out.shop.example", "A"), ["192.0.2.99"], "ptr"),
    "nobody takes replies": (("shop.example", "MX"), [], "replies"),
    "replies are refused by record": (("shop.example", "MX"), ["0 ."], "replies"),
    "nobody takes bounces": (("bounce.shop.example", "MX"), ["10 nowhere.shop.example."], "bounces"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_each_missing_item_alone_is_found_with_its_remedy(what: str, estate: Path, relay: Server) -> None:
    name, values, check = BROKEN[what]
    records = good_records()
    records[name] = values
    found = ask(estate, records, relay)
    assert [c for c, (ok, _) in found.items() if not ok] == [check], found
    assert "publish" in found[check][1] or "add p=" in found[check][1]


def test_a_name_server_that_is_silent_passes_nothing(estate: Path, relay: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.mail.preflight.DNS_S_MAX", 0.2)
    found = ask(estate, good_records(), relay, silent=True)
    assert [c for c, (ok, _) in found.items() if ok] == ["relay", "quota"]
    assert "does not answer" in found["spf"][1]


def test_a_sender_in_another_domain_is_not_aligned(estate: Path, relay: Server) -> None:
    records = good_records() | {
        ("elsewhere.example", "MX"): ["10 mx.shop.example."],
        ("_dmarc.elsewhere.example", "TXT"): ['"v=DMARC1; p=none"'],
    }
    found = ask(estate, records, relay, extra='from_address = "security@elsewhere.example"\n')
    assert [c for c, (ok, _) in found.items() if not ok] == ["alignment"]
    strict = good_records() | {("_dmarc.notice.shop.example", "TXT"): ['"v=DMARC1; p=none; adkim=s; aspf=s"']}
    assert all(ok for ok, _ in ask(estate, strict, relay).values())


def test_a_quota_that_takes_too_long_is_a_reason_to_ask_for_more(estate: Path, relay: Server) -> None:
    ask(estate, good_records(), relay, extra="quota_per_day = 50000\n")
    with NameServer(good_records()) as names:
        text = (estate / "tocsin.toml").read_text()
        (estate / "tocsin.toml").write_text("\n".join(f'dns_server = "{names.address}"' if "dns_server" in x else x for x in text.splitlines()))
        forget()
        checks = {c.name: c for c in queries.preflight(recipients=24_000_000)}
        assert not checks["quota"].ok
        assert checks["quota"].detail == "50,000 in 24 hours: 24,000,000 messages = 479.0 days"
        assert {c.name: c for c in queries.preflight(recipients=100_000)}["quota"].ok


def test_a_relay_that_is_away_or_refuses_us_is_named(estate: Path, tmp_path: Path) -> None:
    with Server() as gone:
        pass
    assert not ask(estate, good_records(), gone)["relay"][0]
    with Server(script=lambda slot, k, argument: b"554 5.7.1 go away\r\n" if slot == "GREETING" else None) as hostile:
        ok, said = ask(estate, good_records(), hostile)["relay"]
        assert not ok
        assert "554" in said
    password = tmp_path / "relay-password"
    password.write_text("secret-of-the-relay\n")
    password.chmod(0o644)
    with Server() as open_relay:
        log_in = f'relay_user = "tocsin"\nrelay_password_file = "{password}"\n'
        assert "chmod 600" in ask(estate, good_records(), open_relay, extra=log_in)["relay"][1]
        password.chmod(0o600)
        ok, said = ask(estate, good_records(), open_relay, extra=log_in)["relay"]
        assert not ok  # it offers no TLS, and credentials go over nothing else
        assert "TLS" in said
        assert "secret-of-the-relay" not in said


def test_a_mailing_is_refused_until_the_domain_is_in_order(estate: Path, relay: Server) -> None:
    ask(estate, good_records() | {(KEYS_AT, "TXT"): []}, relay)
    with NameServer(good_records()) as names:
        text = (estate / "tocsin.toml").read_text()
        (estate / "tocsin.toml").write_text(
            "\n".join(f'dns_server = "{names.address}"' if "dns_server" in x else x for x in text.splitlines())
        )
        forget()
        queries.require_preflight()
        names.records[(KEYS_AT, "TXT")] = []
        with pytest.raises(Refused, match=r"dkim: .*publish at tocsin1"):
            queries.require_preflight()


def fixed(records: Records) -> object:
    return lambda name, kind: records.get((name, kind), [])


@pytest.mark.parametrize(
    ("record", "address", "result"),
    [
        ("v=spf1 -all", "192.0.2.1", Spf.FAIL),
        ("v=spf1 ~all", "192.0.2.1", Spf.SOFTFAIL),
        ("v=spf1", "192.0.2.1", Spf.NEUTRAL),
        ("v=spf1 ip4:192.0.2.0/24 -all", "192.0.2.1", Spf.PASS),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8::7", Spf.PASS),
        ("v=spf1 ip4:2001:db8::/32 -all", "192.0.2.1", Spf.PERMERROR),
        ("v=spf1 a -all", "192.0.2.3", Spf.PASS),
        ("v=spf1 a/28 -all", "192.0.2.14", Spf.PASS),
        ("v=spf1 a:other.example -all", "192.0.2.9", Spf.PASS),
        ("v=spf1 mx -all", "192.0.2.9", Spf.PASS),
        ("v=spf1 mx -all", "192.0.2.8", Spf.FAIL),
        ("v=spf1 exists:other.example -all", "203.0.113.1", Spf.PASS),
        ("v=spf1 include:inner.example ?all", "198.51.100.1", Spf.PASS),
        ("v=spf1 include:inner.example ?all", "198.51.100.2", Spf.NEUTRAL),
        ("v=spf1 include:nothing.example -all", "198.51.100.2", Spf.PERMERROR),
        ("v=spf1 redirect=inner.example", "198.51.100.2", Spf.FAIL),
        ("v=spf1 include:loop.example -all", "192.0.2.1", Spf.PERMERROR),
        ("v=spf1 exists:%{i}.example -all", "192.0.2.1", Spf.PERMERROR),
        ("v=spf1 bogus -all", "192.0.2.1", Spf.PERMERROR),
        ("v=spf10 +all", "192.0.2.1", Spf.NONE),
    ],
)
def test_spf_as_the_standard_has_it(record: str, address: str, result: Spf) -> None:
    """Source: RFC 7208 s4.6.4, s5, s6.1."""
    zone: Records = {
        ("shop.example", "TXT"): [record],
        ("shop.example", "A"): ["192.0.2.3"],
        ("other.example", "A"): ["192.0.2.9"],
        ("shop.example", "MX"): ["other.example"],
        ("inner.example", "TXT"): ["v=spf1 ip4:198.51.100.1 -all"],
        ("loop.example", "TXT"): ["v=spf1 include:loop.example -all"],
    }
    assert evaluate(address, "shop.example", fixed(zone)) is result  # type: ignore[arg-type]


@given(st.text(max_size=60))
def test_no_record_breaks_the_reader(record: str) -> None:
    assert evaluate("192.0.2.1", "shop.example", lambda name, kind: [f"v=spf1 {record}"] if kind == "TXT" else []) in Spf
