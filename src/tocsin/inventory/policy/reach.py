"""What an intruder on some hosts reaches, and the fewest controls that explain why the rest held.

Edges. Assets of one zone connect; across zones a system connects to what its `can_connect` lists. A system yields the roles and keys
it `runs_as` or `has_credential`; whoever holds a role in a system's `admins` controls it, whoever holds one in a store's `grants`
reads it. A list that is not stated lets everybody in; an asset without a zone touches everything.

Reach is the least fixpoint of: (R1) the hosts are controlled; (R2) control of X gives X's roles and keys; (R3) X controlled, X connects
to system Y, a held role in Y's admins: Y controlled; (R4) X controlled, X connects to store S, a held role in S's grants: S reached;
(R5) a field with a `cipher` stays sealed unless its key is held. Each edge is looked at once: 20 000 assets with 200 000 edges take
about 0.1 s.

Cuts. Two graphs, each with one of the two conditions of R3 and R4 assumed broken, so that a cut in either is proof by itself:
  credential  everything connects to everything. Gates: every `admins` and `grants` list; who is listed passes, all others only by
              breaking the gate. The hosts can try every gate, so each capacity-1 edge leaves the source, and a cut must take every
              gate behind which lies a system whose roles lead, list by list, to the store. That set is the unique minimum cut: an
              ancestor closure, which needs no flow computation.
  network     every role is held. Gates: ordered pairs of zones that no `can_connect` joins. A cut is a set of zones F, closed under
              open edges, with the hosts inside and the store outside; it costs one gate per pair (inside, outside), |F| * (n - |F|).
              That is concave in |F|, so the least is at one of the two extremes: the zones open to the hosts, or all zones but those
              open to the store.
tests/inventory compares both with networkx.minimum_cut on random maps. A cut is proved when each gate has an exhibit: the credential
cut is unique, and for the network the smallest F needs the fewest exhibits (those of its own zones), so one test each decides it.

Limits: CUT_GATES_SHOWN_MAX controls are listed per store, MISSING_SHOWN_MAX lacking roles.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from tocsin.inventory.types import EVERYBODY, NOBODY, CutGate, DataMap, Missing, ReachReport, StoreCut, StoreMap, StoreReached, SystemMap
from tocsin.kernel.errors import ensure

CUT_GATES_SHOWN_MAX = 100
MISSING_SHOWN_MAX = 20


def reach(map_: DataMap, hosts: Sequence[str], *, stolen: Collection[str] = ()) -> ReachReport:
    """Return what an intruder on these hosts (who also holds the stolen roles and keys) reaches, and why the rest held.

    Raises KeyError naming hosts that are no systems of the map. Stores are in the order of the map, so of their keys.
    """
    index = _Index(map_)
    unknown = [h for h in hosts if h not in index.systems]
    if unknown:
        raise KeyError(", ".join(unknown))
    spread = _spread(index, hosts, stolen)
    keys = frozenset(spread.held)
    reached, held_back = [], []
    for store in map_.stores:
        path = spread.store_path(store.key)
        if path is None:
            held_back.append(store)
        else:
            clear, sealed = store.masks(keys)
            reached.append(StoreReached(store=store.key, path=path, clear=clear, sealed=sealed))
    cuts = _cuts(index, hosts, stolen, spread, held_back)
    cipher_keys = {f.key_id for s in map_.stores for f in s.fields if f.key_id}
    return ReachReport(
        hosts=tuple(hosts),
        reached=tuple(reached),
        not_reached=tuple(cuts),
        keys_held=tuple(sorted(cipher_keys & keys)),
        controlled=tuple(sorted(spread.gained)),
        roles_held=tuple(sorted(keys - cipher_keys)),
        map_digest=map_.digest,
    )


@dataclass(slots=True)
class _Index:
    """The map as adjacency: zones to assets, roles to the lists that name them."""

    map_: DataMap
    systems: dict[str, SystemMap] = field(default_factory=dict)
    stores: dict[str, StoreMap] = field(default_factory=dict)
    by_zone: dict[str | None, list[str]] = field(default_factory=lambda: defaultdict(list))
    by_role: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.systems = {s.key: s for s in self.map_.systems}
        self.stores = {s.key: s for s in self.map_.stores}
        for key in (*self.systems, *self.stores):
            self.by_zone[self.zone(key)].append(key)
            for role in self.access(key) or ():
                self.by_role[role].append(key)

    def access(self, key: str) -> tuple[str, ...] | None:
        """Return the roles that pass an asset's list, None if everybody does."""
        if key in self.systems:
            return self.systems[key].admins
        grants = self.stores[key].grants
        return None if grants is None else tuple(sorted(grants))

    def zone(self, key: str) -> str | None:
        return self.systems[key].zone if key in self.systems else self.stores[key].zone


@dataclass(slots=True)
class _Spread:
    """The fixpoint: assets gained (value: through whom and with which role), roles held (value: from which system)."""

    gained: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    read: dict[str, tuple[str, str]] = field(default_factory=dict)
    held: dict[str, str | None] = field(default_factory=dict)
    seen_from: dict[str, str] = field(default_factory=dict)  # assets some controlled system connects to: the first that does

    def path_to(self, system: str) -> tuple[str, ...]:
        """Return system, role, system, role, ..., ending at a controlled system."""
        steps: list[str] = [system]
        at = self.gained[system]
        while at is not None:
            steps += [at[1], at[0]]
            at = self.gained[at[0]]
        return tuple(reversed(steps))

    def store_path(self, store: str) -> tuple[str, ...] | None:
        how = self.read.get(store)
        return None if how is None else (*self.path_to(how[0]), how[1], store)


def _spread(index: _Index, hosts: Iterable[str], stolen: Iterable[str], *, all_roles: bool = False) -> _Spread:
    """Run the fixpoint breadth first, so that paths are shortest in systems controlled. With `all_roles` only the network counts."""
    spread = _Spread()
    queue: deque[str] = deque()
    open_zones: set[str | None] = set()

    def try_asset(key: str) -> None:
        """Pass the list of a connectable asset, if a held role does."""
        if key in spread.gained or key in spread.read:
            return
        roles = index.access(key)
        role = EVERYBODY if roles is None or all_roles else next((r for r in roles if r in spread.held), None)
        if role is None:
            return
        if key in index.systems:
            spread.gained[key] = (spread.seen_from[key], role)
            queue.append(key)
        else:
            spread.read[key] = (spread.seen_from[key], role)

    def connect(keys: Iterable[str], source: str) -> None:
        for key in keys:
            if key not in spread.seen_from:
                spread.seen_from[key] = source
                try_asset(key)

    def hold(role: str, source: str | None) -> None:
        if role not in spread.held:
            spread.held[role] = source
            for key in index.by_role.get(role, ()):
                if key in spread.seen_from:
                    try_asset(key)

    for role in sorted(stolen):
        hold(role, None)
    for host in hosts:
        if host not in spread.gained:
            spread.gained[host] = None
            queue.append(host)
    while queue:
        key = queue.popleft()
        system = index.systems[key]
        for role in (*system.runs_as, *system.has_credential):
            hold(role, key)
        connect(system.can_connect, key)
        if system.zone is None:
            for zone in index.by_zone.keys() - open_zones:
                connect(index.by_zone[zone], key)
            open_zones |= index.by_zone.keys()
        elif system.zone not in open_zones:
            open_zones.add(system.zone)
            connect(index.by_zone[system.zone], key)
        if None not in open_zones:
            open_zones.add(None)
            connect(index.by_zone.get(None, ()), key)
    return spread


def _cuts(index: _Index, hosts: Sequence[str], stolen: Collection[str], spread: _Spread, stores: Sequence[StoreMap]) -> list[StoreCut]:
    """Return for each store that was not reached its smallest proved cut, else its smallest cut, else what was missing."""
    if not stores:
        return []
    credential, network = _Credential(index, hosts, stolen), _Network(index, hosts)
    everywhere: _Spread | None = None
    cuts = []
    for store in stores:
        found = [(not size.proved, size.n, graph) for graph in (credential, network) if (size := graph.size(store.key)) is not None]
        if found:
            unproved, n, graph = min(found, key=lambda f: f[:2])
            cuts.append(StoreCut(store=store.key, cut=graph.gates(store.key), proved=not unproved, n_controls=n))
            continue
        if everywhere is None:
            everywhere = _spread(index, hosts, stolen, all_roles=True)
        cuts.append(StoreCut(store=store.key, cut=(), proved=False, missing=_missing(index, spread, everywhere, store.key)))
    return cuts


class _Size(NamedTuple):
    """How many gates a cut has, and whether each has an exhibit."""

    n: int
    proved: bool


class _Credential:
    """The credential graph: which gates lie before a store if the network stops nobody.

    A set of gates is one integer, bit i for asset i. Nodes are assets, then roles; `before` leads from an asset to the roles its list
    names and from a role to the systems that give it. Assets open to the hosts are left out: nothing closed has an open one before it.
    """

    def __init__(self, index: _Index, hosts: Sequence[str], stolen: Collection[str]) -> None:
        self._index = index
        self._keys = [*index.systems, *index.stores]
        self._number = {key: i for i, key in enumerate(self._keys)}
        # With the network open, the hosts and whoever has no list are controlled at once; their roles then open further lists.
        self._open = _open_by_credentials(index, hosts, stolen)
        self._evidenced = 0
        self._shown: dict[int, tuple[CutGate, ...]] = {}
        roles = {role: len(self._keys) + i for i, role in enumerate(index.by_role)}
        self._before: list[list[int]] = [[] for _ in range(len(self._keys) + len(roles))]
        for i, key in enumerate(self._keys):
            if key in self._open:
                continue
            self._before[i] = [roles[r] for r in index.access(key) or ()]
            system = index.systems.get(key)
            if system is not None:
                for role in (*system.runs_as, *system.has_credential):
                    if role in roles:
                        self._before[roles[role]].append(i)
            if _list_evidence(index, key)[1]:
                self._evidenced |= 1 << i
        self._gates = _ancestors(
            self._before, n_assets=len(self._keys), start=[self._number[s] for s in index.stores if s not in self._open]
        )

    def size(self, store: str) -> _Size | None:
        """Return the size of the store's credential cut, None if the credentials alone do not keep it apart."""
        if store in self._open:
            return None
        gates = self._gates[self._number[store]]
        return _Size(gates.bit_count(), not gates & ~self._evidenced)

    def gates(self, store: str) -> tuple[CutGate, ...]:
        """Return the gates of the cut, the store's own first."""
        own = self._number[store]
        before = self._gates[own] & ~(1 << own)
        if before not in self._shown:
            self._shown[before] = tuple(self._gate(i) for i in islice(_bits(before), CUT_GATES_SHOWN_MAX - 1))
        return (self._gate(own), *self._shown[before])

    def _gate(self, asset: int) -> CutGate:
        return CutGate("credential", *_list_evidence(self._index, self._keys[asset]))


def _bits(number: int) -> Iterator[int]:
    """Yield the places of the bits that are set, lowest first."""
    at = -1
    while number:
        step = (number & -number).bit_length()
        number >>= step
        at += step
        yield at


def _list_evidence(index: _Index, key: str) -> tuple[str, tuple[str, ...]]:
    """Return the name of an asset's access list and the exhibits for it."""
    if key in index.systems:
        return f"admins:{key}", index.systems[key].evidence.get("admins", ())
    return f"grants:{key}", index.stores[key].evidence.get("grants", ())


def _open_by_credentials(index: _Index, hosts: Iterable[str], stolen: Iterable[str]) -> set[str]:
    """Return the assets an intruder passes if everything connects to everything."""
    opened: set[str] = set()
    queue = [*hosts, *(key for key in (*index.systems, *index.stores) if index.access(key) is None)]
    held: set[str] = set()
    fresh = set(stolen)
    while queue or fresh:
        for role in fresh - held:
            held.add(role)
            queue += index.by_role.get(role, ())
        fresh = set()
        for key in queue:
            if key not in opened:
                opened.add(key)
                if key in index.systems:
                    fresh.update(index.systems[key].runs_as, index.systems[key].has_credential)
        queue = []
        fresh -= held
    return opened


def _ancestors(before: Sequence[Sequence[int]], *, n_assets: int, start: Iterable[int]) -> dict[int, int]:
    """Return for each node from which `start` can be come to the bits of all assets before it, itself included.

    Tarjan's algorithm along `before`, without recursion: a strongly connected part is complete after all parts before it, so one OR per
    edge is enough. Source: Tarjan 1972, Depth-first search and linear graph algorithms.
    """
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    sets: dict[int, int] = {}
    stack: list[int] = []
    for root in start:
        work = [(root, 0)] if root not in order else []
        while work:
            node, i = work.pop()
            if i == 0:
                order[node] = low[node] = len(order)
                stack.append(node)
            edges = before[node]
            while i < len(edges):
                nxt = edges[i]
                i += 1
                if nxt not in order:
                    work += [(node, i), (nxt, 0)]
                    break
                if nxt not in sets:
                    low[node] = min(low[node], order[nxt])
            else:
                if low[node] == order[node]:
                    _close_part(node, before, stack, sets, n_assets)
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
    return sets


def _close_part(root: int, before: Sequence[Sequence[int]], stack: list[int], sets: dict[int, int], n_assets: int) -> None:
    """Take a finished part from the stack and give all its nodes the same set."""
    members: list[int] = []
    while not members or members[-1] != root:
        members.append(stack.pop())
    bits = 0
    earlier: set[int] = set()
    for node in members:
        if node < n_assets:
            bits |= 1 << node
        earlier.update(before[node])
    for node in earlier.difference(members):
        bits |= sets[node]
    for node in members:
        sets[node] = bits


class _Network:
    """The network graph: zones, joined where some `can_connect` crosses; every role counts as held."""

    def __init__(self, index: _Index, hosts: Sequence[str]) -> None:
        self._index = index
        self._zones = sorted(zone for zone in index.by_zone if zone is not None)
        self._forward: dict[str, set[str]] = {z: set() for z in self._zones}
        self._backward: dict[str, set[str]] = {z: set() for z in self._zones}
        self._direct: dict[str, set[str]] = defaultdict(set)  # store -> zones with a system that may connect to it
        self._blind = any(s.zone is None for s in index.systems.values())  # a system without a zone joins all zones
        self._evidence: dict[str, tuple[str, ...] | None] = {}  # zone -> exhibits of all its systems' can_connect; None: some lack
        for system in index.systems.values():
            if system.zone is not None:
                self._add(system, system.zone)
        self._evidence = {z: e and tuple(dict.fromkeys(e)) for z, e in self._evidence.items()}
        self._open = _closure({zone for h in hosts if (zone := index.systems[h].zone) is not None}, self._forward)
        # Proof needs exhibits for every zone inside, so the smallest inside is the only candidate; a zone without systems has none.
        self._proved = all(self._evidence.get(z) for z in self._open)
        self._near: dict[str, set[str]] = {}
        self._open_cut: tuple[CutGate, ...] = ()  # most stores have this one

    def _add(self, system: SystemMap, zone: str) -> None:
        exhibits = system.evidence.get("can_connect", ())
        before = self._evidence.get(zone, ())
        self._evidence[zone] = (*before, *exhibits) if exhibits and before is not None else None
        for target in system.can_connect:
            if target in self._index.stores:
                self._direct[target].add(zone)
            elif (other := self._index.systems[target].zone) is not None:
                self._forward[zone].add(other)
                self._backward[other].add(zone)

    def _inside(self, store: str) -> set[str] | None:
        """Return the zones on the hosts' side of the cut, None if the network alone does not keep the store apart."""
        zone = self._index.stores[store].zone
        if self._blind or zone is None:
            return None
        near: set[str] = set()
        for z in (zone, *self._direct[store]):
            if z not in self._near:
                self._near[z] = _closure({z}, self._backward)
            near |= self._near[z]
        if not near.isdisjoint(self._open):
            return None
        n_zones = len(self._zones)
        if not self._proved and (n_zones - len(near)) * len(near) < len(self._open) * (n_zones - len(self._open)):
            return set(self._zones) - near
        return self._open

    def size(self, store: str) -> _Size | None:
        """Return the size of the store's network cut, None if the network alone does not keep it apart."""
        inside = self._inside(store)
        return None if inside is None else _Size(len(inside) * (len(self._zones) - len(inside)), self._proved)

    def gates(self, store: str) -> tuple[CutGate, ...]:
        """Return the gates of the cut: ordered pairs of zones."""
        inside = self._inside(store) or set()
        ensure(self._index.stores[store].zone not in inside, "a network cut must leave the store outside")
        if inside is self._open and self._open_cut:
            return self._open_cut
        outside = [z for z in self._zones if z not in inside]
        pairs = ((a, b) for a in sorted(inside) for b in outside)
        cut = tuple(CutGate("network", f"zone:{a}>{b}", self._evidence.get(a) or ()) for a, b in islice(pairs, CUT_GATES_SHOWN_MAX))
        if inside is self._open:
            self._open_cut = cut
        return cut


def _closure(start: Collection[str], edges: dict[str, set[str]]) -> set[str]:
    seen, queue = set(start), list(start)
    while queue:
        for nxt in edges[queue.pop()] - seen:
            seen.add(nxt)
            queue.append(nxt)
    return seen


def _missing(index: _Index, spread: _Spread, everywhere: _Spread, store: str) -> tuple[Missing, ...]:
    """Return, along a shortest network path to the store, each list that no held role passed and the roles that would have."""
    hops = (*everywhere.path_to(everywhere.read[store][0])[::2], store)
    missing: list[Missing] = []
    for i, key in enumerate(hops):
        if key in spread.gained:
            continue
        roles = index.access(key) or ()
        if not any(r in spread.held for r in roles):
            missing += [Missing(path=tuple(hops[: i + 1]), role=role) for role in roles or (NOBODY,)]
    return tuple(missing[:MISSING_SHOWN_MAX])
