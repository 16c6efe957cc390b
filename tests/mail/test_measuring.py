"""The measure that an installed system can make of itself."""

from __future__ import annotations

import pytest

from tocsin.kernel.errors import BadInput
from tocsin.mail import queries


def test_a_machine_measures_its_sender() -> None:
    found = queries.sender_speed(messages=64, rounds=1)
    assert found["messages"] == 64
    assert 0 < found["share_of_rsa_limit"] < 1  # a signed message holds a signature
    assert found["unsigned_cpu_us"] < found["signed_cpu_us"]
    assert found["signed_per_core_s"] == round(1e6 / found["signed_cpu_us"])
    with pytest.raises(BadInput):
        queries.sender_speed(messages=1, rounds=1)
