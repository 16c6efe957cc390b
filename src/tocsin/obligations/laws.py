"""The law files, read and checked once per process; an incident pins `data_version` and `digest`."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tocsin.kernel.errors import BadInput, Fault

from .policy.lawfile import faults_of_file, faults_of_law
from .policy.versions import text_on
from .types import Law, LawData

FOLDER = Path(__file__).parent / "laws"
FILE_BYTES_MAX = 16 * 1024 * 1024


@functools.cache
def shipped() -> LawData:
    """Return the laws that come with this release."""
    return load([FOLDER])


def load(folders: Sequence[Path]) -> LawData:
    """Return the laws of all YAML files in these folders, one set: an overlay of private contracts comes as a second folder.

    Raises BadInput with every fault of every file, with key path and line.
    """
    faults: list[Fault] = []
    laws: list[Law] = []
    versions: list[str] = []
    digest = hashlib.sha256()
    for file in (f for folder in folders for f in sorted(folder.glob("*.yaml"))):
        raw = file.read_bytes()
        digest.update(f"{file.name}\0{len(raw)}\0".encode() + raw)
        document, root = _parse(file, raw, faults)
        if root is None:
            continue
        found = list(faults_of_file(document))
        faults += [_fault(file, root, path, text) for path, text in found]
        if found:
            continue
        versions.append(document["data_version"])
        for i, law in enumerate(document["laws"]):
            faults += [_fault(file, root, ("laws", i, *path), text, law) for path, text in faults_of_law(law, text_on)]
            if isinstance(law, dict):
                laws.append(Law(id=str(law.get("id")), file=file.name, data_version=document["data_version"], raw=law))
    faults += [Fault("laws", twice, "an id that is used once and never again") for twice in _repeated([law.id for law in laws])]
    if not laws and not faults:
        faults.append(Fault("laws", f"no law files in {', '.join(map(str, folders))}", "files in the schema of laws/README.md"))
    if faults:
        raise BadInput(faults)
    newest = max(versions, key=lambda v: tuple(int(p) for p in v.split(".")))
    return LawData(laws=tuple(laws), data_version=newest, digest=digest.hexdigest())


def _parse(file: Path, raw: bytes, faults: list[Fault]) -> tuple[Any, yaml.Node | None]:
    """Return a file's values and its node tree, for lines; a fault and no tree if it is not YAML."""
    if len(raw) > FILE_BYTES_MAX:
        faults.append(Fault(file.name, f"{len(raw)} bytes", f"at most {FILE_BYTES_MAX}"))
        return None, None
    try:
        text = raw.decode()
        return yaml.load(text, Loader=_LOADER), yaml.compose(text, Loader=_LOADER)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else None
        faults.append(Fault(file.name, f"{e.problem}", "YAML", line))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as e:
        faults.append(Fault(file.name, " ".join(str(e).split()), "YAML in UTF-8"))
    return None, None


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _fault(file: Path, root: yaml.Node, path: tuple[str | int, ...], text: str, law: Any = None) -> Fault:
    name = law.get("id") if isinstance(law, dict) else None
    shown = ".".join(str(p) for p in path)
    return Fault(
        field=f"{file.name}: {shown}" + (f" ({name})" if name else ""),
        got=text,
        wanted="the schema of laws/README.md",
        line=_line(root, path),
    )


def _line(node: yaml.Node, path: tuple[str | int, ...]) -> int:
    """Return the line (from 1) of the deepest part of a key path that exists."""
    line = node.start_mark.line + 1
    for key in path:
        for child, name, mark in _children(node):
            if name == key:
                node, line = child, mark
                break
        else:
            break
    return line


def _children(node: yaml.Node) -> Iterator[tuple[yaml.Node, str | int, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield value, str(key.value), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            yield value, i, value.start_mark.line + 1


def _repeated(ids: Sequence[str]) -> list[str]:
    return sorted({i for i in ids if ids.count(i) > 1})
