"""The data map and reach: the specification's example, every refusal, and both cut computations against networkx's minimum cut."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.inventory import policy
from tocsin.inventory.policy.yamlsource import Source
from tocsin.inventory.reference import categories
from tocsin.inventory.types import ELEMENTS, DataMap, FieldMap, StoreMap, SystemMap, codes_of, mask_of

EXAMPLE = Path(__file__).parent / "example.yaml"
SCENARIO = Path(__file__).parents[2] / "scenarios" / "zappos-2012" / "datamap.yaml"
ON = date(2026, 4, 1)


def load(text: str) -> tuple[DataMap, list[str], list[str]]:
    map_, findings = policy.parse([("map.yaml", text)], categories=categories(), on=ON)
    say = [f"{f.line} {f.path}: {f.message}" for f in findings]
    return (
        map_,
        [s for s, f in zip(say, findings, strict=True) if f.severity == "error"],
        [s for s, f in zip(say, findings, strict=True) if f.severity == "warning"],
    )


@pytest.fixture
def example() -> DataMap:
    map_, errors, _ = load(EXAMPLE.read_text())
    assert errors == []
    return map_


# Must show 1.


def test_reach_from_the_web_server(example: DataMap) -> None:
    report = policy.reach(example, ["web_ky"])
    assert {r.store: r.path for r in report.reached} == {
        "customers": ("web_ky", "shop", "customers"),
        "orders": ("web_ky", "shop", "orders"),
    }
    both = report.reached[0].clear | report.reached[1].clear
    assert set(codes_of(both)) == {"name", "email", "phone", "postal_address", "password_hash", "payment_card_last4", "other_personal"}
    assert [r.sealed for r in report.reached] == [0, 0]
    cuts = {c.store: c for c in report.not_reached}
    assert set(cuts) == {"cards", "mailbox", "staff"}
    assert cuts["cards"].proved
    assert {(g.dimension, g.control) for g in cuts["cards"].cut} == {("credential", "grants:cards"), ("credential", "admins:vault_api")}
    assert {e for g in cuts["cards"].cut for e in g.evidence} == {"db-roles-2026-03", "iam-2026-03"}
    assert not cuts["mailbox"].proved
    assert not cuts["staff"].proved
    assert report.keys_held == ()


def test_reach_from_the_vault_service_opens_the_cipher(example: DataMap) -> None:
    report = policy.reach(example, ["vault_api"])
    assert [(r.store, r.path) for r in report.reached] == [("cards", ("vault_api", "vault", "cards"))]
    assert codes_of(report.reached[0].clear) == ("payment_card_number", "other_personal")
    assert report.keys_held == ("kek_1",)


def test_reach_from_the_desk(example: DataMap) -> None:
    report = policy.reach(example, ["desk_pc"])
    assert [r.store for r in report.reached] == ["mailbox", "staff"]
    assert set(codes_of(report.reached[0].clear)) == {"email", "name", "other_personal"}


def test_stolen_role_reaches_sealed_cards_but_not_the_key(example: DataMap) -> None:
    report = policy.reach(example, ["vault_api"], stolen=[])
    assert report.reached[0].sealed == 0
    widened = DataMap(tuple(s if s.key != "vault_api" else _with(s, has_credential=()) for s in example.systems), example.stores)
    report = policy.reach(widened, ["vault_api"])
    assert codes_of(report.reached[0].sealed) == ("payment_card_number",)
    assert policy.reach(widened, ["vault_api"], stolen=["kek_1"]).reached[0].sealed == 0


def test_the_scenario_reaches_customers_and_orders_and_proves_the_vault() -> None:
    map_, errors, warnings = load(SCENARIO.read_text())
    assert errors == []
    assert warnings == []
    report = policy.reach(map_, ["web_ky"])
    assert [r.store for r in report.reached] == ["customers", "orders"]
    assert {c.store: c.proved for c in report.not_reached} == {"cards": True, "staff": True}
    exposed = {code for r in report.reached for code in codes_of(r.clear)}
    assert {"name", "email", "phone", "postal_address", "payment_card_last4", "password_hash"} <= exposed
    assert "payment_card_number" not in exposed


def _with(system: SystemMap, **changes: object) -> SystemMap:
    values = {f: getattr(system, f) for f in SystemMap.__dataclass_fields__} | changes
    return SystemMap(**values)  # type: ignore[arg-type]


# Element numbering.


def test_element_bits_are_the_published_ones() -> None:
    assert list(ELEMENTS.values()) == list(range(46))
    assert (ELEMENTS["name"], ELEMENTS["password_hash"], ELEMENTS["other_personal"]) == (0, 29, 45)
    assert codes_of(mask_of(["email", "name"])) == ("name", "email")
    for mask in (-1, 1 << 46):
        with pytest.raises(ValueError, match="bits"):
            codes_of(mask)
    with pytest.raises(KeyError):
        mask_of(["online_credentials"])


def test_category_table_knows_every_category_and_every_prefix() -> None:
    table = categories()
    assert set(table.codes) <= table.known
    assert set(table.hashed) <= table.known
    wanted = {
        "user.name.first": "name",
        "user.contact.address.city": "postal_address",
        "user.contact.address.state": "other_personal",
        "user.sensor": "other_personal",
        "system.operations": None,
        "user.government_id.immigration": "other_gov_id",
        "user.biometric.voice": "biometric",
    }
    assert {category: table.code(category, is_hashed=False) for category in wanted} == wanted
    assert table.code("user.authorization.password", is_hashed=True) == "password_hash"
    with pytest.raises(KeyError):
        table.code("nonsense", is_hashed=False)


# Lint: every fault at once, each with its line. Success and refusal share the example: each case changes one thing in it.

BREAKS: list[tuple[str, str, str]] = [
    ("kind: host", "kind: server", "wanted one of host, service, desk"),
    ("runs_as: [shop]", "run_as: [shop]", "unknown tag 'run_as'"),
    ("runs_as: [shop]", "runs_as: [shp]", "unknown role or key 'shp'"),
    ("runs_as: [shop]", "runs_as: shop", "wanted a list"),
    ("has_credential: [kek_1]", "has_credential: [vault]", "unknown key 'kek_1'"),
    ("can_connect: [cards]", "can_connect: [cords]", "unknown system or dataset 'cords'"),
    ("dataset_references: [cards]", "dataset_references: [cords]", "unknown dataset 'cords'"),
    ("evidence: {admins: iam-2026-03}", "evidence: {admin: iam-2026-03}", "evidence for 'admin'"),
    ("evidence: {admins: iam-2026-03}", "evidence: [iam]", "wanted a mapping of tag to exhibit"),
    ("fides_key: vault_api", "fides_key: web_ky", "is there already"),
    ("fides_key: vault_api", "fides_key: no", "read as a boolean"),
    ("fides_key: vault_api", "fides_key: cards", "both a system and a dataset"),
    ("zone: ky_web", "zone: on", "read as a boolean"),
    ("zone: ky_web", "zone: 7", "wanted a name"),
    ("      subject_key: card.token\n", "", "needs `subject_key`"),
    ("subject_key: card.token", "subject_key: card.tok", "no field 'card.tok'"),
    ("people: employee", "people: person", "wanted one of customer, employee, supplier"),
    ("residence: [person.home_state], ", "", "no store of people 'employee' has `residence`"),
    ("      vault: true\n", "", "outside a store with `vault: true`"),
    ("vault: true", "vault: maybe", "wanted true or false"),
    ("{account.pw: {element: password_hash, hash: argon2id}}", "{}", "state its `hash` scheme"),
    ("cipher: AES-256-GCM, key: kek_1", "cipher: AES-256-GCM", "needs its `key`"),
    ("cipher: AES-256-GCM, key: kek_1", "key: kek_1", "without `cipher`"),
    ("element: payment_card_last4", "element: last_four", "unknown element code 'last_four'"),
    ("element: payment_card_last4", "elements: payment_card_last4", "unknown tag 'elements'"),
    ("{order.last4: {element: payment_card_last4}}", "{order.last4: payment_card_last4}", "wanted a mapping of tags"),
    ("{order.last4: {element: payment_card_last4}}", "[order.last4]", "wanted a mapping of collection.field"),
    ("order.last4: {", "order.lastfour: {", "no collection has that field"),
    ("free_text: [email, name]", "free_text: [mail]", "unknown element code 'mail'"),
    ("user.behavior.purchase_history", "user.behaviour.purchase_history", "unknown Fides category"),
    ("{name: items, data", "{name: items, meta: {tocsin: {element: dob}}, data", "dropped by Fides"),
    ("  - name: card\n", "  - name: card\n    fides_meta: {tocsin: {}, x: 1}\n    meta: {tocsin: {}}\n", "dropped by Fides"),
    ("{name: items, data", "{name: ship_to, data", "order.ship_to is there already"),
    ("{name: items, data", "{label: items, data", "wanted a name"),
    ("grants: {vault: [reads, writes]}", "grants: {vault: [read]}", "unknown right 'read'"),
    ("grants: {vault: [reads, writes]}", "grants: [vault]", "wanted a mapping of role"),
    ("grants: {vault: [reads, writes]}", "grants: {vault: [reads, writes], off: [reads]}", "read as a boolean"),
    ("as_of: 2026-03-01", "as_of: march", "wanted a day"),
    ("as_of: 2026-03-01", "as_of: 2026-03-01T10:00:00Z", "wanted a day"),
    ("as_of: 2026-03-01", "as_of: 2026-02-30", "wanted a day"),
    ("as_of: 2026-03-01", "as_of: 2026-03-01\n      as_of: 2026-03-02", "written twice"),
    ("zone: saas_mail,", "zone: saas_mail, regime: [hipaa],", "wanted one of phi"),
    ("  collections:\n  - name: card", "  collections: []\n  boxes:\n  - name: card", "at least one field"),
    ("  - name: card\n", "  - card\n  - name: card\n", "wanted a mapping with a name"),
    ("- fides_key: cards\n", "- cards\n- fides_key: cards\n", "wanted a mapping"),
    ("  meta: {tocsin: {kind: desk", "  metadata: {tocsin: {kind: desk", "has no `meta"),
    ("kind: host\n", "kind: host\n     zone: [\n", "not readable as YAML"),
]


@pytest.mark.parametrize(("old", "new", "wanted"), BREAKS, ids=[f"{i}" for i in range(len(BREAKS))])
def test_one_fault_is_named_with_its_line(old: str, new: str, wanted: str) -> None:
    text = EXAMPLE.read_text()
    assert text.count(old) >= 1
    assert load(text)[1] == []
    _, errors, _ = load(text.replace(old, new, 1))
    assert any(wanted in e for e in errors), errors
    assert all(e.split(" ")[0].isdigit() for e in errors)


def test_all_faults_come_at_once() -> None:
    text = EXAMPLE.read_text()
    apart = [b for b in BREAKS if b[1] in ("kind: server", "can_connect: [cords]", "user.behaviour.purchase_history", "free_text: [mail]")]
    for old, new, _ in apart:
        text = text.replace(old, new, 1)
    errors = load(text)[1]
    assert len(errors) == len(apart) == 4
    assert [int(e.split()[0]) for e in errors] == sorted(int(e.split()[0]) for e in errors)
    assert "9 system[0].meta.tocsin.kind" in errors[0]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("      evidence: {can_connect: fw-2026-03, runs_as: units-2026-03}\n", "", "no evidence for `can_connect`"),
        ("      evidence: {admins: iam-2026-03}\n", "", "no evidence for `admins`"),
        ("      admins: [vault_ops]\n", "", "everybody who connects"),
        ("      grants: {vault: [reads, writes]}\n", "", "everybody who connects"),
        ("as_of: 2026-03-01", "as_of: 2025-12-31", "last checked 91 days ago"),
        (", free_text: [email, name]", "", "free text"),
        ("      zone: ky_web\n", "", "connect with everything"),
        ("{name: items, data_categories: [user.behavior.purchase_history]}", "{name: items}", "neither a category nor an element"),
    ],
)
def test_warnings_do_not_refuse(old: str, new: str, wanted: str) -> None:
    text = EXAMPLE.read_text()
    before = load(text)[2]
    assert not any(wanted in w and w not in before for w in before)
    _, errors, warnings = load(text.replace(old, new, 1))
    assert not [e for e in errors if "role" not in e]
    assert any(wanted in w for w in warnings if w not in before), warnings


def test_names_in_quotes_and_yes_as_a_boolean_are_read() -> None:
    text = EXAMPLE.read_text().replace("zone: ky_web", 'zone: "no"').replace("vault: true", "vault: yes")
    map_, errors, _ = load(text)
    assert errors == []
    assert map_.store("cards").vault
    with pytest.raises(KeyError):
        map_.store("nowhere")


@pytest.mark.parametrize("text", ["- a", "", "system: 7\ndataset: {}", "a: &a [*a]", "\x00", "[" * 3000])
def test_what_is_no_map_is_refused(text: str) -> None:
    assert load(text)[1]


def test_nested_fields_have_dotted_keys() -> None:
    text = EXAMPLE.read_text().replace(
        "{name: items, data_categories: [user.behavior.purchase_history]}",
        "{name: items, fields: [{name: gift, fields: [{name: to, data_categories: [user.name, system.operations]}]}]}",
    )
    map_, errors, _ = load(text)
    assert errors == []
    assert {f.key: f.codes for f in map_.store("orders").fields}["order.items.gift.to"] == ("name",)
    deep = "{name: x, fields: [" * 60 + "{name: y}" + "]}" * 60
    assert any(
        "nested deeper" in e
        for e in load(EXAMPLE.read_text().replace("{name: items, data_categories: [user.behavior.purchase_history]}", deep))[1]
    )


def test_fields_that_contain_themselves_end() -> None:
    text = EXAMPLE.read_text()
    looped = text.replace(
        "    fields:\n    - {name: account_id",
        "    fields: &f\n    - {name: a, fields: *f}\n    - {name: b, fields: *f}\n    - {name: account_id",
    )
    assert looped != text
    assert any("more than 100000 fields" in e for e in load(looped)[1])


def test_line_of_a_missing_key_is_its_parents() -> None:
    source = Source("f", "a:\n  b:\n  - 1\n  - 2\n")
    assert (source.line(("a", "b", 1)), source.line(("a", "b", 9)), source.line(("a", "x"))) == (4, 2, 1)


def test_document_round_trip(example: DataMap) -> None:
    document = policy.to_document(example, categories_version="v")
    again = policy.from_document(document, digest=b"d")
    assert (again.systems, again.stores, again.digest) == (example.systems, example.stores, b"d")
    assert policy.to_document(again, categories_version="v") == document


# Reach and cuts in general.


def system(key: str, zone: str | None, *, runs: tuple[str, ...] = (), admins: tuple[str, ...] | None = (), to: tuple[str, ...] = (),
           proof: bool = True) -> SystemMap:  # fmt: skip
    evidence = {"admins": ("a",), "can_connect": ("c",)} if proof else {}
    return SystemMap(key, "host", zone, runs, (), admins, to, evidence)


def store(key: str, zone: str | None, grants: dict[str, tuple[str, ...]] | None, *, proof: bool = True) -> StoreMap:
    fields = (FieldMap("t.email", ("email",)),)
    return StoreMap(key, "customer", zone, False, "t.email", (), None, grants, (), (), None, {"grants": ("g",)} if proof else {}, fields)


def test_unknown_hosts_are_named(example: DataMap) -> None:
    with pytest.raises(KeyError, match="a, b"):
        policy.reach(example, ["web_ky", "a", "b"])


def test_a_role_from_one_host_opens_what_another_connects_to() -> None:
    map_ = DataMap(
        (system("a", "z1", runs=("r1",), to=("b",)), system("b", "z2", admins=("r1",), runs=("r2",), to=("s",)), system("c", "z3")),
        (store("s", "z4", {"r2": ("reads",)}), store("t", "z3", {"r9": ("reads",)})),
    )
    report = policy.reach(map_, ["a", "a"])
    assert report.reached[0].path == ("a", "r1", "b", "r2", "s")
    assert report.controlled == ("a", "b")
    assert report.roles_held == ("r1", "r2")
    assert report.as_json()["reached"][0]["elements"] == ["email"]
    assert report.as_json()["not_reached"][0]["cut"][0]["dimension"] == "credential"


def test_missing_lists_and_zones_protect_nobody() -> None:
    closed = (system("a", "z1"), system("b", "z2")), (store("s", "z2", {"r": ("reads",)}),)
    assert policy.reach(DataMap(*closed), ["a"]).reached == ()
    nozone = DataMap((system("a", None), system("b", "z2", admins=None)), (store("s", "z3", None), store("u", None, None)))
    report = policy.reach(nozone, ["a"])
    assert [r.path for r in report.reached] == [("a", "*", "s"), ("a", "*", "u")]
    assert report.controlled == ("a", "b")
    floating = DataMap((system("a", "z1"),), (store("s", None, None),))
    assert policy.reach(floating, ["a"]).reached[0].store == "s"


def test_network_cut_takes_the_smaller_proved_side() -> None:
    systems = (
        system("a", "z1", runs=("r",), to=("b",)),
        system("b", "z2", admins=("r",)),
        system("c", "z3", proof=False),
        system("d", "z4"),
    )
    map_ = DataMap(systems, (store("s", "z3", {"r": ("reads",)}),))
    cut = policy.reach(map_, ["a"]).not_reached[0]
    assert cut.proved
    assert [g.control for g in cut.cut] == ["zone:z1>z3", "zone:z1>z4", "zone:z2>z3", "zone:z2>z4"]
    blind = DataMap((*systems, system("x", None)), map_.stores)
    assert policy.reach(blind, ["a"]).reached == ()
    lacking = DataMap((_with(systems[0], evidence={}), *systems[1:], system("e", "z5"), system("f", "z6")), map_.stores)
    cut = policy.reach(lacking, ["a"]).not_reached[0]
    assert not cut.proved
    assert cut.n_controls == 5  # all other zones against the store's own


def test_neither_graph_separates_so_what_lacked_is_listed() -> None:
    # `s` is connectable through b; the role it wants runs on c, which b's control would not have given and a cannot reach, yet c is open
    # to whoever connects: with the network open, c falls and gives r9; with all roles, b falls and connects to s.
    map_ = DataMap(
        (system("a", "z1", to=("b",)), system("b", "z2", admins=("r5",), to=("s",)), system("c", "z3", admins=None, runs=("r9",))),
        (store("s", "z4", {"r9": ("reads",)}),),
    )
    cut = policy.reach(map_, ["a"]).not_reached[0]
    assert (cut.cut, cut.proved) == ((), False)
    assert [(m.path, m.role) for m in cut.missing] == [(("a", "b"), "r5"), (("a", "b", "s"), "r9")]


ZONES, ROLES = ["z0", "z1", "z2", "z3"], ["r0", "r1", "r2", "r3"]


@st.composite
def maps(draw: st.DrawFn) -> DataMap:
    names = [f"s{i}" for i in range(draw(st.integers(1, 6)))]
    stores = [f"d{i}" for i in range(draw(st.integers(1, 3)))]
    roles = st.lists(st.sampled_from(ROLES), max_size=2, unique=True).map(tuple)
    zone = st.one_of(st.sampled_from(ZONES), st.none()) if draw(st.booleans()) else st.sampled_from(ZONES)
    to = st.lists(st.sampled_from(names + stores), max_size=2, unique=True).map(tuple)
    access = st.one_of(roles, st.none()) if draw(st.booleans()) else roles
    grants = access.map(lambda a: None if a is None else dict.fromkeys(a, ("reads",)))
    return DataMap(
        tuple(system(n, draw(zone), runs=draw(roles), admins=draw(access), to=draw(to), proof=draw(st.booleans())) for n in names),
        tuple(store(n, draw(zone), draw(grants), proof=draw(st.booleans())) for n in stores),
    )


def oracle_cut(map_: DataMap, target: str, dimension: str, *, proved_only: bool = False) -> float:
    """Return the capacity of networkx's minimum cut in the graph as the specification words it, written down naively."""
    inf = float("inf")
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(["SRC", f"asset:{target}"])

    def edge(a: str, b: str, capacity: float) -> None:
        if not graph.has_edge(a, b) or graph.edges[a, b]["capacity"] < capacity:
            graph.add_edge(a, b, capacity=capacity)

    edge("SRC", "asset:s0", inf)
    if dimension == "credential":
        for s in map_.systems:
            for r in s.runs_as:
                edge(f"asset:{s.key}", f"role:{r}", inf)
        for asset in (*map_.systems, *map_.stores):
            roles = asset.admins if isinstance(asset, SystemMap) else asset.grants
            for r in roles or ():
                edge(f"role:{r}", f"asset:{asset.key}", inf)
            has = asset.evidence.get("admins" if isinstance(asset, SystemMap) else "grants")
            edge("SRC", f"asset:{asset.key}", inf if roles is None or (proved_only and not has) else 1)
    else:
        zones = sorted({a.zone for a in (*map_.systems, *map_.stores) if a.zone is not None})
        everything = [*(f"zone:{z}" for z in zones)]
        for a in zones:
            inside = [s for s in map_.systems if s.zone == a]
            proved = bool(inside) and all(s.evidence for s in inside)
            for b in zones:
                if a != b:
                    edge(f"zone:{a}", f"zone:{b}", inf if proved_only and not proved else 1)
        for s in map_.systems:
            here = f"zone:{s.zone}" if s.zone is not None else f"asset:{s.key}"
            edge(f"asset:{s.key}", here, inf)
            edge(here, f"asset:{s.key}", inf)
            if s.zone is None:
                for z in everything:
                    edge(here, z, inf)
                    edge(z, here, inf)
            for t in s.can_connect:
                edge(here, f"asset:{t}", inf)
        for d in map_.stores:
            for z in everything if d.zone is None else [f"zone:{d.zone}"]:
                edge(z, f"asset:{d.key}", inf)
            for s in map_.systems:
                if s.zone is None or d.zone is None:
                    edge(f"asset:{s.key}", f"asset:{d.key}", inf)
        for s in map_.systems:
            for o in map_.systems:
                if s.zone is None or o.zone is None:
                    edge(f"asset:{s.key}", f"asset:{o.key}", inf)
    try:
        return float(nx.minimum_cut_value(graph, "SRC", f"asset:{target}"))
    except nx.NetworkXUnbounded:
        return inf


@settings(max_examples=250, deadline=None)
@given(maps())
def test_cuts_are_networkx_minimum_cuts(map_: DataMap) -> None:
    report = policy.reach(map_, ["s0"])
    for cut in report.not_reached:
        least = {d: oracle_cut(map_, cut.store, d) for d in ("credential", "network")}
        proved = {d: oracle_cut(map_, cut.store, d, proved_only=True) for d in ("credential", "network")}
        assert cut.proved == any(c < float("inf") for c in proved.values())
        if not cut.cut:
            assert set(least.values()) == {float("inf")}
            assert cut.missing
            continue
        dimension = cut.cut[0].dimension
        assert cut.n_controls == len(cut.cut)
        if cut.proved:
            assert all(g.evidence for g in cut.cut)
            assert least[dimension] <= cut.n_controls
        else:
            assert cut.n_controls == min(least.values())


@settings(max_examples=250, deadline=None)
@given(maps())
def test_reach_is_the_naive_fixpoint_and_grows_with_hosts(map_: DataMap) -> None:
    def connects(x: SystemMap, y: SystemMap | StoreMap) -> bool:
        return x.zone is None or y.zone is None or x.zone == y.zone or y.key in x.can_connect

    controlled, roles = {"s0"}, set()
    for _ in range(20):
        roles = {r for s in map_.systems if s.key in controlled for r in s.runs_as}
        for x in map_.systems:
            if x.key in controlled:
                controlled |= {y.key for y in map_.systems if connects(x, y) and (y.admins is None or roles & set(y.admins))}
    read = {
        d.key
        for d in map_.stores
        for x in map_.systems
        if x.key in controlled and connects(x, d) and (d.grants is None or roles & set(d.grants))
    }
    report = policy.reach(map_, ["s0"])
    assert {r.store for r in report.reached} == read
    assert set(report.controlled) == controlled
    for path in (r.path for r in report.reached):
        assert path[0] == "s0"
        assert len(path) % 2 == 1
    more = policy.reach(map_, [s.key for s in map_.systems])
    assert read <= {r.store for r in more.reached}


def test_a_large_map_is_quick() -> None:
    n, fan = 18_000, 10
    systems = tuple(
        SystemMap(f"h{i}", "host", f"z{i % 300}", (f"r{i % 4000}",), (), (f"r{(i * 7) % 4000}", f"r{(i * 13) % 4000}"),
                  tuple(f"h{(i * 31 + k * 97) % n}" for k in range(fan - 4)), {"admins": ("e",), "can_connect": ("e",)})
        for i in range(n)
    )  # fmt: skip
    stores = tuple(store(f"d{i}", f"z{i % 300}", {f"r{(i * 11) % 4000}": ("reads",), f"x{i}": ("reads",)}) for i in range(1_900)) + tuple(
        store(f"e{i}", f"v{i}", {f"x{i}": ("reads",)}) for i in range(100)
    )
    map_ = DataMap(systems, stores)
    began = time.perf_counter()
    report = policy.reach(map_, ["h0"])
    took = time.perf_counter() - began
    assert len(report.reached) + len(report.not_reached) == 2_000
    print(f"reach and cuts on 20,000 assets: {took:.3f} s, reached {len(report.reached)}, cuts {len(report.not_reached)}")  # noqa: T201
    assert took < 5  # a bound for a loaded machine; the bench reports the figure
