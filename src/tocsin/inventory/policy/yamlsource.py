"""YAML text to plain values, with what plain loading loses: lines, repeated keys, and names that YAML 1.1 reads as booleans.

A bare `no` (Norway, a role, a field) is False to YAML 1.1 and to Fides, which reads the same files. Such words come back as
`Misread`, a string that remembers it; whoever expects a name reports it, whoever expects a boolean takes `.truth`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import yaml

Key = str | int
Path = tuple[Key, ...]
DEPTH_MAX = 40  # nesting of a data map; Fides needs about ten
TRUE = frozenset({"yes", "on", "true"})


class Misread(str):
    """A word written bare that YAML 1.1 reads as a boolean."""

    __slots__ = ()

    @property
    def truth(self) -> bool:
        """Return the boolean that YAML read."""
        return self.lower() in TRUE


class Source:
    """One file: its values, the keys written twice, and the line of any key path (found on demand, for messages only)."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.value, self.broken = file, None, None
        self.repeated: list[tuple[int, str]] = []
        self._text, self._root = text, None
        loader = _Loader(text)
        loader.repeated = self.repeated
        try:
            self.value = loader.get_single_data()
        except yaml.MarkedYAMLError as e:
            mark = e.problem_mark or e.context_mark
            self.broken = (mark.line + 1 if mark else None, f"not readable as YAML: {e.problem or e.context}")
        except yaml.YAMLError as e:
            self.broken = (None, f"not readable as YAML: {' '.join(str(e).split())}")
        except RecursionError:
            self.broken = (None, f"nested deeper than {DEPTH_MAX}")
        finally:
            loader.dispose()

    value: Any
    broken: tuple[int | None, str] | None
    _root: yaml.Node | None

    def line(self, path: Sequence[Key]) -> int:
        """Return the line (from 1) of a key path, or of the deepest part of it that exists."""
        if self._root is None:
            self._root = yaml.compose(self._text, Loader=_Loader)
        node, line = self._root, 1
        for key in path:
            found: tuple[yaml.Node, int] | None = None
            if isinstance(node, yaml.MappingNode):
                for k, v in node.value:
                    if isinstance(k, yaml.ScalarNode) and k.value == key:
                        found = (v, k.start_mark.line + 1)
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                found = (node.value[key], node.value[key].start_mark.line + 1)
            if found is None:
                break
            node, line = found
        return line


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is ten times faster and not in every build


class _Loader(_Base):  # type: ignore[misc]
    """A safe loader that keeps misread booleans and notes repeated keys."""

    repeated: list[tuple[int, str]]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen and key.value != "<<":
                    self.repeated.append((key.start_mark.line + 1, key.value))
                seen.add(key.value)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def _boolean(loader: Any, node: yaml.ScalarNode) -> bool | Misread:
    word = str(loader.construct_scalar(node))
    return word.lower() == "true" if word.lower() in {"true", "false"} else Misread(word)


def _timestamp(loader: Any, node: yaml.ScalarNode) -> Any:
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError:  # 2026-02-30: left as text, so that whoever wants a day can name the line
        return node.value


_Loader.add_constructor("tag:yaml.org,2002:bool", _boolean)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _timestamp)
