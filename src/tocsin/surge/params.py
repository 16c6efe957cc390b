"""Parameters of a forecast from a TOML file: its table `[surge]` if it has one (a scenario does), else the whole file."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tocsin.kernel.errors import BadInput, Fault, NotFound

from .types import Params, parse_params


def load(file: Path) -> Params:
    """Return the parameters in a file. Raises NotFound, or BadInput with every fault in it."""
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(f"no parameters at {file}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise BadInput.of(file.name, str(e), "a TOML file in UTF-8") from None
    table = raw.get("surge", raw)
    if not isinstance(table, dict):
        raise BadInput.of("surge", table, "a table [surge]")
    faults: list[Fault] = []
    params = parse_params(table, faults=faults)
    if faults:
        raise BadInput(faults)
    return params
