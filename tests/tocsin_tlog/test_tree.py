"""Hashing and proofs against the published vectors and against the definitions of the RFCs."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tocsin_tlog.parts import entries, nodes, recursive_root
from tocsin_tlog import proof, tree
from tocsin_tlog.errors import Malformed, TlogError, Unverified

# The test vectors that Certificate Transparency implementations share (google/certificate-transparency, merkletree tests).
LEAVES = [bytes.fromhex(h) for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_published_roots() -> None:
    assert tree.root_of([]) == hashlib.sha256().digest() == tree.EMPTY_ROOT
    assert [tree.root_of(LEAVES[: n + 1]).hex() for n in range(8)] == ROOTS


def test_published_inclusion_proof() -> None:
    """Leaf 0 of 8 in the published vectors."""
    wanted = [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [h.hex() for h in proof.inclusion(0, 8, nodes(LEAVES))] == wanted


@pytest.mark.parametrize("size", [*range(18), 33, 100, 255, 256, 257, 511, 600])
def test_root_is_the_definition(size: int) -> None:
    items = entries(0, size)
    assert tree.root_of(items) == tree.root(size, nodes(items)) == recursive_root(items)


@given(st.integers(1, 300), st.data())
def test_inclusion_accepts_the_truth_and_nothing_else(size: int, data: st.DataObject) -> None:
    items = entries(0, size)
    index = data.draw(st.integers(0, size - 1))
    root, leaf, hashes = tree.root_of(items), tree.leaf_hash(items[index]), proof.inclusion(index, size, nodes(items))
    assert len(hashes) <= (size - 1).bit_length()
    truth: dict[str, Any] = {"leaf": leaf, "index": index, "size": size, "root": root, "hashes": hashes}
    proof.verify_inclusion(**truth)
    wrong = tree.leaf_hash(b"another")
    lies: list[dict[str, Any]] = [{"leaf": wrong}, {"root": wrong}, {"hashes": [*hashes, wrong]}, {"index": size}, {"index": -1}]
    if hashes:
        at = data.draw(st.integers(0, len(hashes) - 1))
        lies += [{"hashes": hashes[:-1]}, {"hashes": [*hashes[:at], wrong, *hashes[at + 1 :]]}, {"index": (index + 1) % size}]
    for lie in lies:
        with pytest.raises(Unverified):
            proof.verify_inclusion(**(truth | lie))


@given(st.integers(0, 300), st.data())
def test_consistency_accepts_the_truth_and_nothing_else(new: int, data: st.DataObject) -> None:
    items = entries(0, new)
    old = data.draw(st.integers(0, new))
    hashes = proof.consistency(old, new, nodes(items))
    roots = {"old_root": tree.root_of(items[:old]), "new_root": tree.root_of(items)}
    truth: dict[str, Any] = {"old": old, "new": new, "hashes": hashes} | roots
    proof.verify_consistency(**truth)
    wrong = tree.leaf_hash(b"another")
    lies: list[dict[str, Any]] = [{"old_root": wrong}, {"hashes": [*hashes, wrong]}, {"old": new + 1}]
    if old:
        lies.append({"new_root": wrong})
    if hashes:
        at = data.draw(st.integers(0, len(hashes) - 1))
        lies += [{"hashes": hashes[:-1]}, {"hashes": [*hashes[:at], wrong, *hashes[at + 1 :]]}]
    for lie in lies:
        with pytest.raises(Unverified):
            proof.verify_consistency(**(truth | lie))


def test_proofs_of_nothing_are_refused() -> None:
    for make, a, b in ((proof.inclusion, 0, 0), (proof.inclusion, 5, 5), (proof.consistency, 3, 2)):
        with pytest.raises(Malformed):
            make(a, b, nodes(entries(0, 5)))


@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda t: f"{proof.HEADER}\nindex {t}".encode("utf-8", "replace")))
def test_any_bytes_are_refused_as_a_proof(data: bytes) -> None:
    with pytest.raises(TlogError):
        proof.parse_proof(data)
