"""Verification of a whole folder: passes the truth, names every kind of change."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tocsin_tlog.parts import AT_S, ORIGIN, entries, open_log, signers
from tocsin_tlog import checkpoint, tree
from tocsin_tlog.errors import Malformed
from tocsin_tlog.verify import verify_log

VKEYS = [s.vkey for s in signers()]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    with open_log(folder) as writer:
        writer.append(entries(0, 66_000))
        writer.publish(at_s=AT_S)
        writer.append(entries(66_000, 66_100))
        writer.sync()  # behind the checkpoint: not part of the log yet
    return folder


def test_the_truth_holds(log: Path) -> None:
    result = verify_log(log, VKEYS)
    assert result.consistent, result.faults
    assert (result.size, result.root) == (66_000, tree.root_of(entries(0, 66_000)).hex())
    assert [(s.name, s.kind) for s in result.signatures] == [(ORIGIN, "ed25519"), (ORIGIN, "ml_dsa_44")]


def test_an_earlier_checkpoint_is_extended_or_not(log: Path) -> None:
    heads = (checkpoint.Checkpoint(ORIGIN, 300, tree.root_of(entries(a, a + 300))) for a in (0, 1))
    true, forked = (checkpoint.sign(head, signers(), at_s=AT_S) for head in heads)
    assert verify_log(log, VKEYS, earlier=[true]).consistent
    for earlier in ([forked], [true, forked], [b"nonsense"]):
        assert not verify_log(log, VKEYS, earlier=earlier).consistent


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(["entries", "level0", "level1", "level2", "checkpoint"]), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_every_changed_byte_is_seen(log: Path, name: str, where: float, mask: int) -> None:
    file = log / name
    whole = file.read_bytes()
    length = {"entries": 66_000 * 47, "level0": 66_000 * 32, "level1": 257 * 32, "level2": 32}.get(name, len(whole))
    at = int(where * length)
    file.write_bytes(whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :])
    try:
        result = verify_log(log, VKEYS)
    finally:
        file.write_bytes(whole)
    if name == "checkpoint" and len(result.signatures) == 1:
        return  # the change hid one of the two signatures from its key; the other still vouches for the same head
    assert not result.consistent
    assert result.faults


def test_missing_pieces_and_foreign_keys_are_faults(log: Path, tmp_path: Path) -> None:
    assert verify_log(tmp_path, VKEYS).faults == ("the log has no checkpoint",)
    other = [s.vkey for s in signers(seed=b"o")]
    result = verify_log(log, other)
    assert not result.consistent
    assert result.signatures == ()
    (tmp_path / "checkpoint").write_bytes((log / "checkpoint").read_bytes())
    assert "missing" in verify_log(tmp_path, VKEYS).faults[0]
    with pytest.raises(Malformed):
        verify_log(log, ["not a key"])
