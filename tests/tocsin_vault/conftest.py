"""A vault per module or per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tocsin_vault.parts import Vault, new_vault


@pytest.fixture
def vault() -> Iterator[Vault]:
    """Give a vault of this test's own."""
    with new_vault() as v:
        yield v


@pytest.fixture(scope="module")
def shared_vault() -> Iterator[Vault]:
    """Give a vault for all tests of a module."""
    with new_vault() as v:
        yield v
