"""From configuration to connectors: the adapter by its dotted path, its options, and the secret that this process may open.

A secret rests under the key `connector_rest`, whose private half the operator's process alone may hold: a person opens it for a look, and
for arming. Arming makes a second copy under `connector_live` for the worker; ending or aborting removes that copy. So in peacetime no
process that runs by itself can sign in to a company's systems.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tocsin.credentials.models import ConnectorSecret
from tocsin.credentials.port import Connector
from tocsin.kernel import config, wiring
from tocsin.kernel.config import ConnectorTable
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import KEYS_OF, deposit, open_deposit

CONTEXT = "credentials.connector"
REST, LIVE = "connector_rest", "connector_live"


def table(name: str) -> ConnectorTable:
    """Return the configuration of one connector. Raises NotFound and names those there are."""
    tables = config.current().connectors
    if name not in tables:
        there = ", ".join(sorted(tables)) or "none: write a table [connectors.NAME] into tocsin.toml"
        raise NotFound(f"no connector {name!r}; there are: {there}")
    return tables[name]


def connector(name: str) -> Connector:
    """Return a new connector with its secret opened. Raises BadInput for its options, Refused for a secret that this process may not open.

    A demo or drill estate refuses a system that is not on this machine, a live one refuses one that is.
    """
    found = table(name)
    kind = config.current().estate.kind
    try:
        made: Connector = wiring.load(found.adapter)(name, dict(found.options), _secret(found.secret))
    except BadInput as e:  # an adapter may name its options alone; the operator reads the file
        whole = f"connectors.{name}."
        raise BadInput([replace(f, field=whole + f.field.removeprefix(whole)) for f in e.faults]) from None
    if kind == "live" and made.reach() == "loopback":
        raise Refused(f"a live estate acts on no system of this machine, and connector {name} names one: set its host")
    if kind != "live" and made.reach() == "world":
        raise Refused(f"a {kind} estate acts on practice systems of this machine alone, and {made!r} is another's")
    return made


def may_act() -> bool:
    """Tell whether this process may open any secret of a connector at all."""
    return bool(KEYS_OF[config.current().process] & {REST, LIVE})


def rest(secret: Private[str]) -> bytes:
    """Return a secret sealed for peacetime."""
    return deposit(secret.reveal().encode(), context=CONTEXT, to=REST)


def enliven(name: str) -> None:
    """Seal a copy of a connector's secret for the worker. Belongs into the transaction of arming; needs the operator's key."""
    row = ConnectorSecret.objects.select_for_update().filter(name=table(name).secret).first()
    if row is not None:
        opened = open_deposit(row.rest, context=CONTEXT, to=REST)
        row.live = deposit(opened.reveal(), context=CONTEXT, to=LIVE)
        row.save(update_fields=["live"])


def withdraw(name: str, *, others: Any) -> None:
    """Remove the worker's copy, unless another armed target (`others`, names) signs in with the same secret."""
    mine = table(name).secret
    if mine not in {table(other).secret for other in others if other != name and other in config.current().connectors}:
        ConnectorSecret.objects.filter(name=mine).update(live=None)


def _secret(name: str) -> Private[str] | None:
    held = KEYS_OF[config.current().process]
    if REST in held:
        row = ConnectorSecret.objects.filter(name=name).values_list("rest", flat=True).first()
        to = REST
    elif LIVE in held:
        row = ConnectorSecret.objects.filter(name=name).values_list("live", flat=True).first()
        to = LIVE
    else:
        raise Refused(f"the process {config.current().process} may not act on a company's systems")
    return Private(open_deposit(row, context=CONTEXT, to=to).reveal().decode()) if row is not None else None
