"""The options of a connector as its adapter declares them: a frozen dataclass, every fault of a table found at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from tocsin.kernel.errors import BadInput, Fault

T = TypeVar("T")


def parse(shape: type[T], name: str, given: Mapping[str, Any], *, needed: Collection[str] = ()) -> T:
    """Return the options of the connector `name` as a `shape`; `needed` may not be empty. Raises BadInput with every fault.

    A default says which type an option has: text, number, switch, list of text, or a table.
    """
    known: dict[str, Any] = {
        f.name: (f.default_factory() if f.default_factory is not MISSING else f.default)
        for f in fields(shape)  # type: ignore[arg-type]
    }
    faults: list[Fault] = []
    good: dict[str, Any] = {}
    for key, value in given.items():
        where = f"connectors.{name}.{key}"
        wanted: type[Any] = type(known.get(key))
        if key not in known:
            faults.append(Fault(where, repr(value), f"a known option: {', '.join(known)}"))
        elif wanted is float and type(value) is int:
            good[key] = float(value)
        elif wanted is tuple and isinstance(value, list) and all(isinstance(v, str) for v in value):
            good[key] = tuple(value)
        elif type(value) is not wanted:
            faults.append(Fault(where, repr(value), f"a value of type {'list of text' if wanted is tuple else wanted.__name__}"))
        elif key == "port" and not 0 < value < 65_536:
            faults.append(Fault(where, repr(value), "a port from 1 to 65535"))
        else:
            good[key] = value
    faults += [Fault(f"connectors.{name}.{key}", "nothing", "a value") for key in needed if not (good.get(key) or known.get(key))]
    if faults:
        raise BadInput(faults)
    return shape(**good)
