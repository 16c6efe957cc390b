"""Reach with all cuts on 20,000 assets and 200,000 edges, and 88 laws on 384 cohorts, beside networkx and beside bare mask tests.

`./run bench exposure [--rounds N]`. Each round runs every contestant once, in turn. networkx gets the same map as a ready graph: for
plain reach (`descendants`, which knows neither roles nor cuts) and for the minimum cut of one store in the credential graph, where ours
gives the cuts of all 2,000. The limit of the duty engine is one AND per law and cohort in plain Python.
Times are CPU time of this process: wall-clock on a shared machine is noise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import networkx as nx

from tocsin.inventory import policy as inventory
from tocsin.inventory.types import DataMap, FieldMap, StoreMap, SystemMap
from tocsin.obligations import laws
from tocsin.obligations import policy as obligations
from tocsin.obligations.policy.clocks import US
from tocsin.obligations.types import Cohort, Facts

ROOT = Path(__file__).parent.parent
SYSTEMS, STORES, ROLES, ZONES, LISTED = 18_000, 2_000, 4_000, 300, 6
COHORTS = 384
PROOF = {"admins": ("e",), "can_connect": ("e",), "grants": ("e",)}


def a_map() -> DataMap:
    """Return a map of 20,000 assets: every system has zone, role, two administrators' roles and six crossings; a tenth is reachable."""
    systems = tuple(
        SystemMap(f"h{i}", "host", f"z{i % ZONES}", (f"r{i % ROLES}",), (), (f"r{i * 7 % ROLES}", f"r{(i * 13 + 1) % ROLES}"),
                  tuple(f"h{(i * 31 + k * 97) % SYSTEMS}" for k in range(LISTED)), PROOF)
        for i in range(SYSTEMS)
    )  # fmt: skip
    field = (FieldMap("t.email", ("email",)),)
    stores = tuple(
        StoreMap(f"d{i}", "customer", f"z{i % ZONES}" if i % 10 else f"v{i}", False, "t.email", (), None,
                 {f"r{i * 11 % ROLES}" if i % 3 == 0 else f"x{i}": ("reads",)}, (), (), None, PROOF, field)
        for i in range(STORES)
    )  # fmt: skip
    return DataMap(systems, stores)


def plain_graph(map_: DataMap) -> nx.DiGraph[str]:
    """Return systems, stores and crossings as networkx sees them, zones as hubs: 200,000 edges with the role edges."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for asset in (*map_.systems, *map_.stores):
        graph.add_edge(f"zone:{asset.zone}", asset.key)
    for s in map_.systems:
        graph.add_edge(s.key, f"zone:{s.zone}")
        graph.add_edges_from((s.key, target) for target in s.can_connect)
    return graph


def credential_graph(map_: DataMap, hosts: list[str]) -> nx.DiGraph[str]:
    """Return the credential graph with capacities; an edge without one is infinite."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edges_from(("SRC", h) for h in hosts)
    for s in map_.systems:
        graph.add_edges_from((s.key, f"role:{r}") for r in s.runs_as)
        graph.add_edges_from((f"role:{r}", s.key) for r in s.admins or ())
        if s.key not in hosts:
            graph.add_edge("SRC", s.key, capacity=1)
    for d in map_.stores:
        graph.add_edges_from((f"role:{r}", d.key) for r in d.grants or ())
        graph.add_edge("SRC", d.key, capacity=1)
    return graph


def main() -> None:
    """Run the rounds, print the table, write bench/results/exposure.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    map_, hosts = a_map(), ["h0"]
    report = inventory.reach(map_, hosts)
    by_credentials = [c for c in report.not_reached if c.cut and c.cut[0].dimension == "credential"]
    cut_off = max(by_credentials, key=lambda c: c.n_controls).store
    plain, credential = plain_graph(map_), credential_graph(map_, hosts)
    data = laws.shipped()
    sets = [frozenset(s) for s in ({"name", "email"}, {"name", "ssn"}, {"email", "password_hash"}, {"name", "bank_account_number"},
                                   {"name", "email", "payment_card_last4"}, {"name", "email", "password_hash", "phone"})]  # fmt: skip
    places = [*US, "DE", "FR", "CA-ON", "CA-QC", "GB", "BR", "JP", "AU", "ZZ", "US"]
    cohorts = tuple(Cohort(p, 1_000, s) for p in places for s in sets)[:COHORTS]
    facts = Facts(cohorts=cohorts, events={"discovery": date(2026, 6, 1)}, now=datetime(2026, 6, 1, tzinfo=UTC))
    masks = list(range(COHORTS))
    contestants: dict[str, Callable[[], object]] = {
        "tocsin: reach and every cut": lambda: inventory.reach(map_, hosts),
        "networkx: descendants only": lambda: nx.descendants(plain, hosts[0]),
        "networkx: minimum cut of one store": lambda: nx.minimum_cut_value(credential, "SRC", cut_off),
        "tocsin: 88 laws on 384 cohorts": lambda: obligations.assess(facts, data),
        "limit: one AND per law and cohort": lambda: [sum(1 for m in masks if m & 7) for _ in data.laws],
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()  # fills caches and imports, not measured
    for _ in range(rounds):
        for name, run in contestants.items():
            began = time.process_time()
            run()
            times[name].append((time.process_time() - began) * 1_000)
    print(f"{SYSTEMS + STORES} assets, {len(report.reached)} reached, {len(report.not_reached)} cut; {rounds} rounds, CPU ms")
    rows = {}
    for name, values in times.items():
        rows[name] = {"ms_median": round(statistics.median(values), 1), "ms_min": round(min(values), 1), "ms_max": round(max(values), 1)}
        print(f"  {name:36} median {rows[name]['ms_median']:8.1f}  ({rows[name]['ms_min']}-{rows[name]['ms_max']})")
    (ROOT / "bench" / "results").mkdir(exist_ok=True)
    (ROOT / "bench" / "results" / "exposure.json").write_text(
        json.dumps(
            {
                "bench": "exposure",
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": f"{os.cpu_count()} x {platform.machine()}",
                "load": os.getloadavg(),
                "python": platform.python_version(),
                "rounds": rounds,
                "rows": rows,
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
