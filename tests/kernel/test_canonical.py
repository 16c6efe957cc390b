"""The quick canonical JSON gives the bytes of the package that implements RFC 8785, or its refusal."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernel import canonical

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
VALUES = st.recursive(SCALARS, lambda v: st.lists(v) | st.dictionaries(st.text(st.characters()), v), max_leaves=12)


class Colour(StrEnum):
    RED = "red"


def outcome(dumps: Any, value: Any) -> bytes | type:
    try:
        found: bytes = dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as e:
        return type(e)
    return found


@given(VALUES)
def test_any_document(value: Any) -> None:
    assert outcome(canonical.dumps, value) == outcome(rfc8785.dumps, value)


@pytest.mark.parametrize(
    "value",
    ["\x00\x08\t\n\x0b\f\r\x1f\"\\/\x7f\u2028\U0001f600", {"b": 1, "a": [True, None, {"\ue000": 1, "\U0001f600": 2}]}, {"x": 2**53},
     {"x": -(2**53) + 1}, {"x": 1.0, "y": 1e21, "z": -0.0}, {"x": (1, 2)}, {"x": Colour.RED}, {1: 2}, {"x": object}, "\ud800"],
)  # fmt: skip
def test_the_corners(value: Any) -> None:
    assert outcome(canonical.dumps, value) == outcome(rfc8785.dumps, value)
