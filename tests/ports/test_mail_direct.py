"""Straight to the exchangers: the promises of `mail.port.Transport` on the direct adapter, with a name server, mail servers and an HTTPS
server of our own on loopback; what a domain requires and a server does not show keeps the mail waiting, and nothing goes out in clear.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.conftest import forget
from tests.mail.names import NameServer
from tests.ports.authority import Authority, Made, tlsa
from tests.ports.https_server import Https, Page
from tests.ports.servers import Script, Server
from tocsin.kernel import wiring
from tocsin.kernel.errors import Refused
from tocsin.mail import actions
from tocsin.mail.sender import journal
from tocsin.mail.sender.connection import Timeouts
from tocsin.mail.sender.lookup import Lookup, Settings
from tocsin.mail.shaping import table
from tocsin.mail.types import BlockToSend, Envelope, Outcome, Pace, Recipient

WORLD = ("PIPELINING", "8BITMIME")  # what a receiver of the world announces
QUICK = Timeouts(connect=2, greeting=1, command=1, data=1, block=2, final=1, quit=0.4, retry=0.01)
PACE = Pace(connections=4, messages_per_connection=100, rate_per_s=1e6)
MX_HOST = "mx.shop.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Give the authority that everybody here trusts."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> Made:
    """Give a certificate for the exchanger."""
    return authority.make(MX_HOST)


@dataclass
class World:
    """A name server, and the mail servers and policies that its records lead to."""

    home: Path
    names: NameServer
    port: int
    ca_file: str
    https: Https | None = None
    trusted: bool = True
    verified: bool = False
    stack: ExitStack = field(default_factory=ExitStack)
    lookup: Lookup | None = None

    def direct(self, *, reserved: bool = True) -> Any:
        """Return the adapter under test, with a memory of its own."""
        self.lookup = Lookup(
            Settings(
                self.home,
                "sender.example",
                server=self.names.address,
                trusted=self.trusted,
                verified=self.verified,
                ca_file=self.ca_file,
                port=self.port,
                https_port=self.https.port if self.https else 443,
                reserved=reserved,
            ),
            receivers=table.mx_suffixes(),
            shape_of=table.shape_of,
        )
        return wiring.load("tocsin.mail.adapters.direct.DirectMx")(self.lookup, experimental=True, timeouts=QUICK)

    def send(self, *addresses: str, pace: Pace = PACE, reserved: bool = True) -> dict[str, Outcome]:
        """Send a message to each address through a new adapter; return outcomes by address, each ended exactly once."""
        transport = self.direct(reserved=reserved)
        outcomes: dict[str, Outcome] = {}
        with journal.RunJournal(self.home, block=1, attempt=1) as notes:
            for o in transport.deliver(
                [envelope(n, a) for n, a in enumerate(addresses)], pace=pace, journal=notes, renew=lambda: None, stopped=lambda: False
            ):
                assert addresses[o.n] not in outcomes
                outcomes[addresses[o.n]] = o
        assert self.lookup is not None
        self.lookup.close()
        journal.forget(self.home, 1)
        assert len(outcomes) == len(addresses)
        return outcomes


def envelope(n: int, address: str) -> Envelope:
    return Envelope(n, f"b+1.{n}.x@bounce.example", address, f"To: {address}\r\n\r\n{'x' * 70}\r\n.\r\n".encode())


def kinds(outcomes: dict[str, Outcome]) -> dict[str, tuple[str, str]]:
    return {a: (o.kind, o.enhanced) for a, o in outcomes.items()}


def taken(server: Server) -> list[str]:
    return sorted(a for a, _ in server.taken)


def records(**more: list[str]) -> dict[tuple[str, str], list[str]]:
    """Return the records of shop.example with one exchanger on 127.0.0.1."""
    return {("shop.example", "MX"): [f"10 {MX_HOST}."], (MX_HOST, "A"): ["127.0.0.1"]}


@contextmanager
def world(
    tmp_path: Path,
    authority: Authority,
    server: Server,
    zone: dict[tuple[str, str], list[str]],
    *,
    signed: bool = False,
    broken: tuple[tuple[str, str], ...] = (),
    **options: Any,
) -> Iterator[World]:
    with NameServer(zone, signed=signed, broken=broken) as names:
        yield World(tmp_path, names, server.port, str(authority.file), **options)


# -- where the mail goes --------------------------------------------------------------------------------------------------------


def test_exchangers_are_tried_in_order_of_preference(tmp_path: Path, authority: Authority) -> None:
    with Server(keywords=WORLD) as first, Server(host="127.0.0.2", port=first.port, keywords=WORLD) as second:
        zone = {
            ("shop.example", "MX"): ["20 mx2.shop.example.", "10 mx1.shop.example."],
            ("mx1.shop.example", "A"): ["127.0.0.1"],
            ("mx2.shop.example", "A"): ["127.0.0.2"],
        }
        with world(tmp_path, authority, first, zone) as w:
            assert kinds(w.send("a@shop.example")) == {"a@shop.example": ("handed_over", "2.0.0")}
            assert (taken(first), taken(second)) == (["a@shop.example"], [])
            w.names.records["mx1.shop.example", "A"] = ["127.0.0.3"]  # nobody listens there
            assert kinds(w.send("b@shop.example")) == {"b@shop.example": ("handed_over", "2.0.0")}
            assert taken(second) == ["b@shop.example"]


def test_a_host_that_greets_with_554_or_421_is_passed_over(tmp_path: Path, authority: Authority) -> None:
    for greeting in (b"554 5.7.1 not you\r\n", b"421 4.3.2 busy\r\n"):
        script: Script = lambda s, k, _, said=greeting: said if s == "GREETING" else None  # noqa: E731
        with Server(keywords=WORLD, script=script) as first, Server(host="127.0.0.2", port=first.port, keywords=WORLD) as second:
            zone = {
                ("shop.example", "MX"): ["10 mx1.shop.example.", "20 mx2.shop.example."],
                ("mx1.shop.example", "A"): ["127.0.0.1"],
                ("mx2.shop.example", "A"): ["127.0.0.2"],
            }
            with world(tmp_path, authority, first, zone) as w:
                assert kinds(w.send("a@shop.example")) == {"a@shop.example": ("handed_over", "2.0.0")}
            assert (first.connections, taken(second)) == (1, ["a@shop.example"])


def test_without_mx_the_address_of_the_domain_itself(tmp_path: Path, authority: Authority) -> None:
    with Server(keywords=WORLD) as server, world(tmp_path, authority, server, {("shop.example", "A"): ["127.0.0.1"]}) as w:
        assert kinds(w.send("a@shop.example")) == {"a@shop.example": ("handed_over", "2.0.0")}


def test_ipv6_and_ipv4_are_both_used(tmp_path: Path, authority: Authority) -> None:
    zone = records() | {(MX_HOST, "AAAA"): ["::1"]}
    with Server(keywords=WORLD) as four:
        with world(tmp_path, authority, four, zone) as w:
            assert w.send("a@shop.example")["a@shop.example"].kind == "handed_over"  # nobody listens on ::1: the next address
        with Server(host="::1", port=four.port, keywords=WORLD) as six, world(tmp_path, authority, four, zone) as w:
            assert w.send("b@shop.example")["b@shop.example"].kind == "handed_over"
        assert (taken(four), taken(six)) == (["a@shop.example"], ["b@shop.example"])


def test_each_reason_why_no_server_can_be_tried(tmp_path: Path, authority: Authority) -> None:
    """Null MX (RFC 7505), no such domain, no address: for good. A name server that fails: for now. The others are sent."""
    zone = records() | {
        ("null.example", "MX"): ["0 ."],
        ("bare.example", "TXT"): ['"nothing here"'],
        ("lost.example", "MX"): ["10 nowhere.example."],
        ("broken.example", "MX"): ["10 mx.broken.example."],
        ("half.example", "MX"): ["10 mx.half.example."],
        ("both.example", "MX"): ["0 .", f"10 {MX_HOST}."],
        ("mx.half.example", "TXT"): ['"x"'],
    }
    broken = (("broken.example", "MX"), ("mx.half.example", "A"), ("mx.half.example", "AAAA"))
    with Server(keywords=WORLD) as server, world(tmp_path, authority, server, zone, broken=broken) as w:
        found = w.send(*(f"a@{d}.example" for d in ("null", "gone", "bare", "lost", "broken", "half", "both", "shop")))
    assert kinds(found) == {
        "a@null.example": ("bounced", "5.1.10"),
        "a@gone.example": ("bounced", "5.1.2"),
        "a@bare.example": ("bounced", "5.4.4"),
        "a@lost.example": ("deferred", "4.4.4"),
        "a@broken.example": ("deferred", "4.4.3"),
        "a@half.example": ("deferred", "4.4.3"),
        "a@both.example": ("handed_over", "2.0.0"),
        "a@shop.example": ("handed_over", "2.0.0"),
    }
    assert "takes no mail" in found["a@null.example"].text
    assert taken(server) == ["a@both.example", "a@shop.example"]


def test_a_strangers_record_leads_to_no_server_behind_our_walls(tmp_path: Path, authority: Authority) -> None:
    with Server(keywords=WORLD) as server, world(tmp_path, authority, server, records()) as w:
        assert kinds(w.send("a@shop.example", reserved=False)) == {"a@shop.example": ("deferred", "4.4.4")}
        assert server.connections == 0


def test_one_sites_trouble_is_its_own(tmp_path: Path, authority: Authority) -> None:
    """One is dead, one stalls, one refuses our sender, one has an unknown user; the rest of the run goes on, and every address ends once."""
    script: Script = lambda s, k, _: b"550 5.7.1 not from you\r\n" if s == "MAIL" else None  # noqa: E731
    unknown: Script = lambda s, k, said: b"550 5.1.1 unknown\r\n" if s == "RCPT" and "u@" in said else None  # noqa: E731
    with (
        Server(keywords=WORLD, script=unknown) as fine,
        Server(host="127.0.0.2", port=fine.port, keywords=WORLD, script=script) as hostile,
        Server(host="127.0.0.4", port=fine.port, keywords=WORLD, script=lambda s, k, _: b"STALL" if s == "GREETING" else None),
    ):
        zone = {(f"{d}.example", "MX"): [f"10 mx.{d}.example."] for d in ("fine", "dead", "hostile", "stall")} | {
            (f"mx.{d}.example", "A"): [f"127.0.0.{n}"] for d, n in (("fine", 1), ("dead", 3), ("hostile", 2), ("stall", 4))
        }
        with world(tmp_path, authority, fine, zone) as w:
            people = [f"p{n}@{d}.example" for n in range(15) for d in ("dead", "fine", "hostile", "stall")]
            found = kinds(w.send(*people, "u@fine.example"))
    by_site = {d: Counter(v for a, v in found.items() if a.endswith(f"@{d}.example")) for d in ("fine", "dead", "hostile", "stall")}
    assert by_site["fine"] == {("handed_over", "2.0.0"): 15, ("bounced", "5.1.1"): 1}
    assert by_site["dead"] == {("deferred", "4.4.1"): 15}
    assert by_site["stall"] == {("deferred", "4.4.1"): 15}
    assert {kind for kind, _ in by_site["hostile"]} == {"deferred"}
    assert hostile.taken == []


def test_domains_of_one_receiver_share_its_connections_and_limits(tmp_path: Path, authority: Authority) -> None:
    """Thirty domains at one receiver, whose exchangers are known by their name: 5 connections and 50 messages on each, whatever the pace."""
    zone: dict[tuple[str, str], list[str]] = {(f"d{n}.example", "MX"): ["1 aspmx.l.google.com."] for n in range(30)}
    zone["aspmx.l.google.com", "A"] = ["127.0.0.1"]
    with Server(keywords=WORLD) as server, world(tmp_path, authority, server, zone) as w:
        found = w.send(*(f"p{n}@d{n % 30}.example" for n in range(400)), pace=Pace(20, 1000, 1e6))
    assert Counter(o.kind for o in found.values()) == {"handed_over": 400}
    assert server.open_max <= 5
    assert max(server.per_connection) <= 50


def test_a_slow_name_server_holds_up_nobody_else_and_the_lease_is_kept(tmp_path: Path, authority: Authority) -> None:
    renewed: list[float] = []
    with Server(keywords=WORLD) as server, NameServer({}, silent=True) as silent, world(tmp_path, authority, server, records()) as w:
        transport = w.direct()
        assert w.lookup is not None
        real = w.lookup.find

        def find(domain: str) -> Any:  # this domain's question goes to a server that never answers
            if domain == "slow.example":
                slow = Lookup(Settings(w.home, "x.example", server=silent.address), receivers={}, shape_of=table.shape_of)
                slow._resolver.lifetime = 0.7
                return slow.find(domain)
            return real(domain)

        w.lookup.find = find  # type: ignore[method-assign]
        at: dict[int, float] = {}
        begun = time.monotonic()
        with journal.RunJournal(tmp_path, block=1, attempt=1) as notes:
            for o in transport.deliver(
                [envelope(0, "a@slow.example"), envelope(1, "b@shop.example")],
                pace=PACE,
                journal=notes,
                renew=lambda: renewed.append(time.monotonic()),
                stopped=lambda: False,
            ):
                at[o.n] = time.monotonic() - begun
                assert (o.n, o.kind) in {(0, "deferred"), (1, "handed_over")}
    assert at[1] < 0.6 < at[0]


# -- MTA-STS --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def https(authority: Authority) -> Iterator[Https]:
    """Give the web server where policies lie."""
    made = Https(authority.make("mta-sts.shop.example", "mta-sts.other.example").server)
    yield made
    made.close()


def sts_zone(https: Https, text: str, *, id_: str = "1") -> dict[tuple[str, str], list[str]]:
    https.asked.clear()
    https.pages = {("mta-sts.shop.example", "/.well-known/mta-sts.txt"): Page(text.replace("\n", "\r\n").encode())}
    return records() | {("_mta-sts.shop.example", "TXT"): [f'"v=STSv1; id={id_};"'], ("mta-sts.shop.example", "A"): ["127.0.0.1"]}


def policy(*, mode: str = "enforce", mx: str = MX_HOST, max_age: int = 86_400) -> str:
    return f"version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: {max_age}\n"


Case = tuple[str, Callable[[Authority], Made | None], tuple[str, str]]
CASES: list[Case] = [
    ("a certificate that verifies", lambda ca: ca.make(MX_HOST), ("handed_over", "2.0.0")),
    ("a wildcard certificate", lambda ca: ca.make("*.shop.example"), ("handed_over", "2.0.0")),
    ("another host's certificate", lambda ca: ca.make("mx.other.example"), ("deferred", "4.7.5")),
    ("an expired certificate", lambda ca: ca.make(MX_HOST, expired=True), ("deferred", "4.7.5")),
    ("nobody's certificate", lambda ca: Authority(ca.folder / "x", "Somebody").make(MX_HOST), ("deferred", "4.7.5")),
    ("no STARTTLS", lambda ca: None, ("deferred", "4.7.5")),
]


@pytest.mark.parametrize(("what", "shown", "expected"), CASES, ids=[c[0] for c in CASES])
def test_enforced_means_verified_or_not_at_all(
    what: str, shown: Callable[[Authority], Made | None], expected: tuple[str, str], tmp_path: Path, authority: Authority, https: Https
) -> None:
    made = shown(authority)
    with Server(keywords=WORLD, tls=made.server if made else None) as server:
        with world(tmp_path, authority, server, sts_zone(https, policy()), https=https) as w:
            assert kinds(w.send("a@shop.example")) == {"a@shop.example": expected}
        assert taken(server) == (["a@shop.example"] if expected[0] == "handed_over" else [])
        assert not any(c.startswith("MAIL") for c in server.commands) or expected[0] == "handed_over"  # not even the envelope in clear
        if expected[0] == "handed_over":
            assert any(c.startswith("STARTTLS") for c in server.commands)


def test_only_hosts_of_the_policy_may_have_the_mail(tmp_path: Path, authority: Authority, https: Https, good: Made) -> None:
    with Server(keywords=WORLD, tls=good.server) as server:
        with world(tmp_path, authority, server, sts_zone(https, policy(mx="*.mail.example")), https=https) as w:
            found = w.send("a@shop.example")["a@shop.example"]
            assert (found.kind, found.enhanced) == ("deferred", "4.7.5")
            assert "not in the policy" in found.text
        assert server.connections == 0
        with world(tmp_path / "b", authority, server, sts_zone(https, policy(mx="*.shop.example")), https=https) as w:
            assert w.send("a@shop.example")["a@shop.example"].kind == "handed_over"


@pytest.mark.parametrize("mode", ["testing", "none"])
def test_testing_and_none_hold_nothing_back(mode: str, tmp_path: Path, authority: Authority, https: Https) -> None:
    with Server(keywords=WORLD, tls=authority.make("mx.other.example").server) as server:
        with world(tmp_path, authority, server, sts_zone(https, policy(mode=mode, mx="mx.nobody.example")), https=https) as w:
            assert w.send("a@shop.example")["a@shop.example"].kind == "handed_over"
        assert any(c.startswith("STARTTLS") for c in server.commands)  # encrypted all the same


def test_a_policy_is_kept_for_its_time_even_when_the_domain_falls_silent(tmp_path: Path, authority: Authority, https: Https) -> None:
    """Somebody who takes the record and the web server away takes no protection away, until max_age has passed (RFC 8461 s5.1)."""
    with Server(keywords=WORLD) as clear:
        zone = sts_zone(https, policy())
        with world(tmp_path, authority, clear, zone, https=https) as w:
            assert w.send("a@shop.example")["a@shop.example"].kind == "deferred"
            assert len(https.asked) == 1
            assert w.send("a@shop.example")["a@shop.example"].kind == "deferred"
            assert len(https.asked) == 1  # the id is the one we have: not fetched again
            del w.names.records["_mta-sts.shop.example", "TXT"], w.names.records["mta-sts.shop.example", "A"]
            https.pages = {}
            assert w.send("a@shop.example")["a@shop.example"].kind == "deferred"
            assert clear.taken == []
            [file] = list((tmp_path / "mta-sts").iterdir())
            assert file.stat().st_mode & 0o077 == 0o044 or file.parent.stat().st_mode & 0o077 == 0
            kept = json.loads(file.read_text())
            file.write_text(json.dumps(kept | {"fetched_at": kept["fetched_at"] - 86_401}))
            assert w.send("a@shop.example")["a@shop.example"].kind == "handed_over"


def test_a_new_id_brings_the_new_policy_and_a_faulty_file_keeps_the_old(tmp_path: Path, authority: Authority, https: Https) -> None:
    with Server(keywords=WORLD) as clear, world(tmp_path, authority, clear, sts_zone(https, policy()), https=https) as w:
        assert w.send("a@shop.example")["a@shop.example"].kind == "deferred"
        path = ("mta-sts.shop.example", "/.well-known/mta-sts.txt")
        w.names.records["_mta-sts.shop.example", "TXT"] = ['"v=STSv1; id=2"']
        for bad in (Page(b"version: STSv1\nmode: off\n"), Page(policy(mode="none").encode(), content_type="text/html"), Page(b"", status=500),
                    Page(policy(mode="none").encode(), status=301, headers={"Location": "https://mta-sts.other.example/x"}),
                    Page(policy(mode="none").encode() + b"x" * 70_000)):  # fmt: skip
            https.pages[path] = bad
            assert w.send("a@shop.example")["a@shop.example"].kind == "deferred", bad.status
        https.pages[path] = Page(policy(mode="none").encode())
        assert w.send("a@shop.example")["a@shop.example"].kind == "handed_over"


def test_a_policy_from_a_server_that_is_not_the_domains_is_none(tmp_path: Path, authority: Authority) -> None:
    """The certificate of the web server must name mta-sts.DOMAIN: whoever can only lead the name elsewhere makes no policy."""
    impostor = Https(authority.make("elsewhere.example").server)
    try:
        with Server(keywords=WORLD) as clear, world(tmp_path, authority, clear, sts_zone(impostor, policy()), https=impostor) as w:
            assert w.send("a@shop.example")["a@shop.example"].kind == "handed_over"
        assert impostor.asked == []
        assert not (tmp_path / "mta-sts").exists()
    finally:
        impostor.close()


# -- DANE -----------------------------------------------------------------------------------------------------------------------


def dane_zone(server: Server, *values: str) -> dict[tuple[str, str], list[str]]:
    return records() | {(f"_{server.port}._tcp.{MX_HOST}", "TLSA"): list(values)}


@pytest.mark.parametrize("record", [(3, 1, 1), (3, 0, 1), (3, 1, 2), (3, 0, 2), (3, 1, 0), (3, 0, 0)])
def test_the_servers_own_certificate_or_key(record: tuple[int, int, int], tmp_path: Path, authority: Authority) -> None:
    """Usage 3: names, dates and authorities do not matter (RFC 7671 s5.1)."""
    strange = Authority(tmp_path / "ca", "Nobody").make("wrong.example", expired=True)
    other = Authority(tmp_path / "ca2", "Nobody").make(MX_HOST)
    with Server(keywords=WORLD, tls=strange.server) as server:
        with world(tmp_path, authority, server, dane_zone(server, other.tlsa(*record), strange.tlsa(*record)), signed=True) as w:
            assert kinds(w.send("a@shop.example")) == {"a@shop.example": ("handed_over", "2.0.0")}
        with world(tmp_path, authority, server, dane_zone(server, other.tlsa(*record)), signed=True) as w:
            assert kinds(w.send("b@shop.example")) == {"b@shop.example": ("deferred", "4.7.5")}
    assert taken(server) == ["a@shop.example"]


@pytest.mark.parametrize("record", [(2, 0, 1), (2, 1, 1), (2, 0, 2)])
def test_an_authority_that_the_domain_names(record: tuple[int, int, int], tmp_path: Path, authority: Authority) -> None:
    """Usage 2: the chain must lead there, and the certificate name the host or the domain (RFC 7672 s3.1.2, s3.2.2)."""
    own = Authority(tmp_path / "own", "Shop CA")
    anchor = tlsa(own.certificate, *record)
    for shown, kind in (
        (own.make(MX_HOST), "handed_over"),
        (own.make("shop.example"), "handed_over"),
        (own.make("other.example"), "deferred"),
        (own.make(MX_HOST, expired=True), "deferred"),
        (authority.make(MX_HOST), "deferred"),  # everybody trusts it, the domain does not
    ):
        with Server(keywords=WORLD, tls=shown.server) as server:
            with world(tmp_path, authority, server, dane_zone(server, anchor), signed=True) as w:
                assert w.send("a@shop.example")["a@shop.example"].kind == kind
            assert len(server.taken) == (kind == "handed_over")


def test_a_stripped_starttls_is_no_way_around_dane(tmp_path: Path, authority: Authority, good: Made) -> None:
    with Server(keywords=WORLD) as server:
        with world(tmp_path, authority, server, dane_zone(server, good.tlsa(3, 1, 1)), signed=True) as w:
            found = w.send("a@shop.example")["a@shop.example"]
            assert (found.kind, found.enhanced) == ("deferred", "4.7.5")
            assert "STARTTLS" in found.text
        assert not any(c.startswith("MAIL") for c in server.commands)


def test_dane_counts_only_where_a_trusted_resolver_says_signed(tmp_path: Path, authority: Authority, good: Made) -> None:
    wrong = authority.make("wrong.example").tlsa(3, 1, 1)
    with Server(keywords=WORLD, tls=good.server) as server:
        for signed, trusted, kind in ((True, True, "deferred"), (False, True, "handed_over"), (True, False, "handed_over")):
            with world(tmp_path, authority, server, dane_zone(server, wrong), signed=signed, trusted=trusted) as w:
                assert w.send("a@shop.example")["a@shop.example"].kind == kind, (signed, trusted)


def test_a_signed_zone_that_does_not_answer_for_tlsa_is_no_permission(tmp_path: Path, authority: Authority, good: Made) -> None:
    with Server(keywords=WORLD, tls=good.server) as server:
        place = (f"_{server.port}._tcp.{MX_HOST}", "TLSA")
        with world(tmp_path, authority, server, dane_zone(server, good.tlsa(3, 1, 1)), signed=True, broken=(place,)) as w:
            assert kinds(w.send("a@shop.example")) == {"a@shop.example": ("deferred", "4.7.5")}
        assert server.connections == 0


def test_records_that_nobody_can_check_still_ask_for_tls(tmp_path: Path, authority: Authority) -> None:
    """Usages 0 and 1, unknown selectors: TLS is required, any certificate will do (RFC 7672 s2.2)."""
    strange = Authority(tmp_path / "ca", "Nobody").make("wrong.example")
    unusable = ("0 1 1 " + "00" * 32, "1 0 1 " + "11" * 32, "3 7 1 " + "22" * 32, "3 1 9 33")
    with (
        Server(keywords=WORLD, tls=strange.server) as server,
        world(tmp_path, authority, server, dane_zone(server, *unusable), signed=True) as w,
    ):
        assert w.send("a@shop.example")["a@shop.example"].kind == "handed_over"
    with Server(keywords=WORLD) as clear, world(tmp_path, authority, clear, dane_zone(clear, *unusable), signed=True) as w:
        assert w.send("a@shop.example")["a@shop.example"].kind == "deferred"
        assert clear.taken == []


def test_dane_stands_before_a_policy_of_mta_sts(tmp_path: Path, authority: Authority, https: Https, good: Made) -> None:
    """A certificate that everybody trusts mends no TLSA record that fails (RFC 8461 s2)."""
    with Server(keywords=WORLD, tls=good.server) as server:
        zone = sts_zone(https, policy()) | dane_zone(server, authority.make("wrong.example").tlsa(3, 1, 1))
        with world(tmp_path, authority, server, zone, https=https, signed=True) as w:
            assert w.send("a@shop.example")["a@shop.example"].kind == "deferred"
            w.names.records[f"_{server.port}._tcp.{MX_HOST}", "TLSA"] = [good.tlsa(3, 1, 1)]
            assert w.send("b@shop.example")["b@shop.example"].kind == "handed_over"


def test_the_next_exchanger_may_show_what_the_first_does_not(tmp_path: Path, authority: Authority, good: Made) -> None:
    with Server(keywords=WORLD) as first, Server(host="127.0.0.2", port=first.port, keywords=WORLD, tls=good.server) as second:
        zone = {
            ("shop.example", "MX"): ["10 mx1.shop.example.", f"20 {MX_HOST}."],
            ("mx1.shop.example", "A"): ["127.0.0.1"],
            (MX_HOST, "A"): ["127.0.0.2"],
        }
        with world(tmp_path, authority, first, zone, verified=True) as w:
            assert w.send("a@shop.example")["a@shop.example"].kind == "handed_over"
        assert (first.taken, taken(second)) == ([], ["a@shop.example"])


@pytest.mark.parametrize("dane", [False, True], ids=["authority", "dane"])
def test_the_second_handshake_is_resumed(dane: bool, tmp_path: Path, authority: Authority, good: Made) -> None:
    with Server(keywords=WORLD, tls=good.server) as server:
        zone = dane_zone(server, good.tlsa(3, 1, 1)) if dane else records()
        with world(tmp_path, authority, server, zone, signed=dane, verified=not dane) as w:
            found = w.send(*(f"p{n}@shop.example" for n in range(9)), pace=Pace(1, 3, 1e6))
    assert Counter(o.kind for o in found.values()) == {"handed_over": 9}
    assert (server.connections, server.resumed) == (3, 2)


# -- a server that is not ours, and the door ------------------------------------------------------------------------------------


class Keeps:
    """A handler of aiosmtpd that keeps what came, and whether it came over TLS."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, bool, bytes]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.kept.append((envelope.rcpt_tos[0], session.ssl is not None, envelope.original_content))
        return "250 2.0.0 kept"


def test_a_block_reaches_a_server_of_another_make_over_tls(estate: Path, authority: Authority, good: Made) -> None:
    """aiosmtpd asks for STARTTLS before MAIL. The block comes signed, through the room's door, in a live estate that means it."""
    keeper = Keeps()
    with Server() as free:
        port = free.port
    controller = Controller(keeper, hostname="127.0.0.1", port=port, tls_context=good.server, require_starttls=True)
    controller.start()
    try:
        with NameServer(records() | {(f"_{port}._tcp.{MX_HOST}", "TLSA"): [good.tlsa(3, 1, 1)]}, signed=True) as names:
            transport = World(estate, names, port, str(authority.file)).direct()
            notice = actions.compile_template(subject="Your data", text="Dear {{name}}\n")
            people = [Recipient(n, f"p{n}@shop.example", {"name": f"P{n}"}, f"1/{n}") for n in range(20)]
            block = BlockToSend(7, 1, [notice], people, datetime(2026, 11, 24, tzinfo=UTC))
            with pytest.raises(Refused, match="real people"):
                list(actions.send_block(block, transport=transport, pace=PACE, renew=lambda: None, stopped=lambda: False))
            (estate / "tocsin.toml").write_text('[estate]\nkind = "live"\n')
            forget()
            found = list(actions.send_block(block, transport=transport, pace=PACE, renew=lambda: None, stopped=lambda: False))
    finally:
        controller.stop()
    assert Counter(o.kind for o in found) == {"handed_over": 20}
    assert sorted(a for a, _, _ in keeper.kept) == sorted(p.address for p in people)
    assert all(secured and b"DKIM-Signature" in raw for _, secured, raw in keeper.kept)


def test_direct_delivery_is_refused_until_the_operator_means_it(estate: Path) -> None:
    text = '[estate]\nkind = "live"\n[mail]\ntransport = "tocsin.mail.adapters.direct.DirectMx"\n'
    (estate / "tocsin.toml").write_text(text)
    forget()
    with pytest.raises(Refused, match="experimental"):
        actions.transport()
    (estate / "tocsin.toml").write_text(text + "experimental = true\n")
    forget()
    assert actions.transport().reach() == "world"


def test_a_practice_post_office_is_never_met_on_this_way(tmp_path: Path, authority: Authority) -> None:
    with Server() as practice, world(tmp_path, authority, practice, records()) as w:
        assert w.send("a@shop.example")["a@shop.example"].kind == "deferred"
        assert practice.taken == []


def test_check_says_what_was_reached(estate: Path, authority: Authority, good: Made) -> None:
    zone = {("bounce.shop.example", "MX"): [f"10 {MX_HOST}."], (MX_HOST, "A"): ["127.0.0.1"]}
    with Server(keywords=WORLD, tls=good.server) as server, world(estate, authority, server, zone) as w:
        assert "TLS" in w.direct().check()
        assert server.taken == []
