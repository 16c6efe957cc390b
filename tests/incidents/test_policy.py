"""Declarations, cohorts, proof states and facts, by themselves."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.incidents import policy
from tocsin.incidents.types import PROOF_STATES, STATES, Declaration
from tocsin.inventory.types import StoreReached, mask_of
from tocsin.kernel.errors import BadInput

AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
GOOD: dict[str, Any] = {"name": "Kentucky", "cause": "A server was broken into", "hosts": ["web_ky"]}


def parse(**changes: Any) -> Declaration:
    return policy.parse_declaration({"incident": {k: v for k, v in {**GOOD, **changes}.items() if v is not None}})


def test_a_whole_declaration() -> None:
    found = policy.parse_declaration(
        {"incident": {**GOOD, "discovered_at": AT, "window_hours": 72, "stolen": ["ops"]}, "entity": {"card_accepting_merchant": True}}
    )
    assert found.hosts == ("web_ky",)
    assert found.entity == {"card_accepting_merchant": True}
    assert policy.moments(found, asked_at=AT) == (AT, AT - timedelta(hours=72))
    assert policy.moments(parse(), asked_at=AT) == (AT, None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": None}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"cause": 3}, "cause"),
        ({"hosts": []}, "hosts"),
        ({"hosts": "web_ky"}, "hosts"),
        ({"hosts": ["a", "a"]}, "hosts"),
        ({"stolen": [""]}, "stolen"),
        ({"discovered_at": AT.replace(tzinfo=None)}, "discovered_at"),
        ({"discovered_at": "yesterday"}, "discovered_at"),
        ({"window_hours": -1}, "window_hours"),
        ({"window_hours": True}, "window_hours"),
        ({"window_hours": 1, "window_from": AT}, "window_hours"),
        ({"discovered_at": AT, "window_from": AT + timedelta(seconds=1)}, "window_from"),
        ({"moon": 1}, "moon"),
    ],
)
def test_each_fault_is_named(changes: dict[str, Any], field: str) -> None:
    parse()
    with pytest.raises(BadInput) as caught:
        parse(**changes)
    assert [f.field for f in caught.value.faults] == [f"incident.{field}"]


def test_all_faults_at_once() -> None:
    with pytest.raises(BadInput) as caught:
        policy.parse_declaration({"incident": {"name": 1, "hosts": 2, "x": 3}, "entity": {"a": "yes"}, "zoo": 1})
    assert {f.field for f in caught.value.faults} == {"incident.name", "incident.cause", "incident.hosts", "incident.x", "entity", "zoo"}
    with pytest.raises(BadInput, match="a table"):
        policy.parse_declaration({})


def test_discovery_is_neither_in_the_future_nor_before_the_window() -> None:
    late = parse(discovered_at=AT + timedelta(seconds=1))
    with pytest.raises(BadInput, match="not after that of asking"):
        policy.moments(late, asked_at=AT)
    assert policy.moments(late, asked_at=AT + timedelta(seconds=1))[0] == late.discovered_at
    with pytest.raises(BadInput, match="not after the discovery"):
        policy.moments(parse(window_from=AT + timedelta(days=1)), asked_at=AT)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "b"},
        {"cause": "b"},
        {"hosts": ["b"]},
        {"stolen": ["b"]},
        {"discovered_at": AT},
        {"window_from": AT},
        {"window_hours": 1},
        {"story": "b"},
    ],
)
def test_what_is_signed_says_everything(changes: dict[str, Any]) -> None:
    assert policy.payload(parse(**changes)) != policy.payload(parse())
    assert policy.payload(policy.parse_declaration({"incident": GOOD, "entity": {"a": True}})) != policy.payload(parse())


NAME, EMAIL, HASH, LAST4, OTHER, CARD, DOB = (
    mask_of([c]) for c in ("name", "email", "password_hash", "payment_card_last4", "other_personal", "payment_card_number", "dob")
)


def reached(store: str, clear: int, sealed: int = 0, state: str = "reachable") -> StoreReached:
    return StoreReached(store=store, path=("web",), clear=clear, sealed=sealed, state=state)


def test_cohorts_of_a_person_in_two_stores() -> None:
    profiles = {1: {"customers": NAME | EMAIL | HASH}, 2: {"customers": NAME | EMAIL, "orders": LAST4}, 3: {"cards": CARD}}
    cube = [("US-CA", 1, 5), ("US-CA", 2, 3), ("ZZ", 2, 1), ("US-NY", 3, 7)]
    found = policy.group(cube, profiles, [reached("customers", NAME | EMAIL | HASH | OTHER), reached("orders", LAST4, state="accessed")])
    key = policy.CohortKey
    assert dict(found.cohorts) == {
        key("US-CA", NAME | EMAIL | HASH | OTHER, 0, "reachable"): 5,  # what the map says and no profile tells counts for everybody there
        key("US-CA", NAME | EMAIL | OTHER | LAST4, 0, "accessed"): 3,
        key("ZZ", NAME | EMAIL | OTHER | LAST4, 0, "accessed"): 1,
    }
    assert found.people == 9
    assert found.people_of_store == {"customers": 9, "orders": 4}
    assert found.assumed == {"customers": OTHER}


def test_clear_somewhere_is_clear_and_what_the_map_forgot_is_clear() -> None:
    profiles = {1: {"a": EMAIL | DOB, "b": EMAIL}}
    sealed_only = policy.group([("DE", 1, 1)], profiles, [reached("a", 0, EMAIL)])
    assert [(k.clear, k.sealed) for k in sealed_only.cohorts] == [(DOB, EMAIL)]
    both = policy.group([("DE", 1, 1)], profiles, [reached("a", 0, EMAIL), reached("b", EMAIL)])
    assert [(k.clear, k.sealed) for k in both.cohorts] == [(DOB | EMAIL, 0)]
    assert policy.group([("DE", 1, 1)], profiles, []).people == 0
    assert policy.group([("DE", 1, 1)], profiles, [reached("staff", NAME)]).assumed == {}


MASKS = st.integers(min_value=1, max_value=255)
STORES = st.sampled_from(["a", "b", "c", "d"])
PROFILES = st.dictionaries(st.integers(1, 6), st.dictionaries(STORES, MASKS, max_size=4), min_size=1, max_size=6)


@given(st.data(), PROFILES)
def test_nobody_is_lost_or_counted_twice(data: st.DataObject, profiles: dict[int, dict[str, int]]) -> None:
    places = st.tuples(st.sampled_from(["US-CA", "DE", "ZZ"]), st.sampled_from(sorted(profiles)))
    cells = data.draw(st.dictionaries(places, st.integers(1, 9)))
    reaches = []
    for store in sorted(data.draw(st.sets(STORES))):
        clear, sealed = data.draw(st.integers(0, 255)), data.draw(st.integers(0, 255))
        reaches.append(reached(store, clear, sealed & ~clear, data.draw(st.sampled_from(PROOF_STATES))))
    found = policy.group([(j, h, n) for (j, h), n in cells.items()], profiles, reaches)
    told = dict.fromkeys("abcd", 0)
    for profile in profiles.values():
        for store, mask in profile.items():
            told[store] |= mask
    slow: Counter[policy.CohortKey] = Counter()
    for (jurisdiction, holding), n in cells.items():  # bit by bit, the slow way
        mine = [r for r in reaches if r.store in profiles[holding]]
        if not mine:
            continue
        bits: dict[int, str] = {}
        for r in mine:
            held = profiles[holding][r.store] | ((r.clear | r.sealed) & ~told[r.store])
            for bit in range(8):
                if held >> bit & 1 and bits.get(bit) != "clear":
                    bits[bit] = "sealed" if r.sealed >> bit & 1 else "clear"
        clear = sum(1 << b for b, how in bits.items() if how == "clear")
        sealed = sum(1 << b for b, how in bits.items() if how == "sealed")
        slow[policy.CohortKey(jurisdiction, clear, sealed, max((r.state for r in mine), key=PROOF_STATES.index))] += n
    assert dict(found.cohorts) == dict(slow)
    assert len({(j, h) for j, h, _ in found.members}) == len(found.members)
    assert sum(cells[j, h] for j, h, _ in found.members) == found.people


def test_facts_raise_a_proof_state_and_never_lower_it() -> None:
    stores = [reached("a", NAME), reached("b", NAME, state="exfiltrated")]
    raised = policy.with_facts(stores, {"store.a.state": "accessed", "store.b.state": "reachable", "store.c.state": "exfiltrated"})
    assert [r.state for r in raised] == ["accessed", "exfiltrated"]


@pytest.mark.parametrize(
    ("key", "value", "exhibit", "audience", "before", "wrong"),
    [
        ("contact", "help@shop.example", "", "all", None, []),
        ("", "x", "", "all", None, ["key"]),
        ("a b", "", "", "press", None, ["key", "value", "audience"]),
        ("store.a.state", "accessed", "query-log-7", "all", "reachable", []),
        ("store.a.state", "taken", "query-log-7", "all", None, ["value"]),
        ("store.a.state", "accessed", "", "all", None, ["exhibit"]),
        ("store.a.state", "accessed", "x", "all", "exfiltrated", ["value"]),
    ],
)
def test_which_facts_may_stand(key: str, value: str, exhibit: str, audience: str, before: str | None, wrong: list[str]) -> None:
    assert [f.field for f in policy.check_fact(key, value, exhibit=exhibit, audience=audience, before=before)] == wrong


def test_an_incident_goes_forward_but_for_one_that_is_not_over() -> None:
    later = {(a, b) for i, a in enumerate(STATES) for b in STATES[i + 1 :]}
    assert {(a, b) for a in STATES for b in STATES if policy.may_advance(a, b)} == later | {("closed", "contained")}
    assert policy.unknown_stores({1: {"a": 1, "z": 1}, 2: {"y": 1}}, ["a"]) == ["y", "z"]
