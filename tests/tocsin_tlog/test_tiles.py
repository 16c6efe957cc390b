"""The folder: same root whatever the batches, every C2SP resource a true slice, nothing unpublished served."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tocsin_tlog.parts import entries, nodes, recursive_root
from tocsin_tlog import proof, tree
from tocsin_tlog.errors import Damaged, Malformed, NoSuchTile, TlogError
from tocsin_tlog.tiles import TileReader, TileStore, tile_path

ITEMS = entries(0, 70_000)


def fill(folder: Path, batches: list[int]) -> TileStore:
    store = TileStore(folder)
    store.recover(0)
    for n in batches:
        assert store.append(ITEMS[store.size : store.size + n]) + n == store.size
    return store


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 700), max_size=8))
def test_any_batches_give_the_root_of_the_definition(tmp_path_factory: pytest.TempPathFactory, batches: list[int]) -> None:
    folder = tmp_path_factory.mktemp("log")
    store = fill(folder, batches)
    size = sum(batches)
    head = store.sync()
    assert (head.size, head.root) == (size, recursive_root(ITEMS[:size]))
    with TileReader(folder) as reader:
        for earlier in {0, size // 3, size // 2, size}:
            assert reader.root(earlier) == recursive_root(ITEMS[:earlier])
    store.close()
    again = TileStore(folder)
    assert again.recover(size) == head.root
    again.append(ITEMS[size : size + 300])
    assert again.head().root == recursive_root(ITEMS[: size + 300])
    again.close()


def test_three_levels_and_their_proofs(tmp_path: Path) -> None:
    store = fill(tmp_path, [1, 255, 65_536, 4_208])
    root, node = store.sync().root, nodes(ITEMS)
    assert root == tree.root_of(ITEMS)
    assert {p.name: p.stat().st_size for p in tmp_path.iterdir()} == {
        "entries": 47 * 70_000,
        "level0": 32 * 70_000,
        "level1": 32 * 273,
        "level2": 32,
    }
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        assert proof.inclusion(index, 70_000, store.node) == proof.inclusion(index, 70_000, node)
    assert proof.consistency(65_537, 70_000, store.node) == proof.consistency(65_537, 70_000, node)
    store.close()


def test_the_resources_of_tlog_tiles(tmp_path: Path) -> None:
    """The example of the specification: a tree of 70,000."""
    store = fill(tmp_path, [70_000])
    store.sync()
    level0 = b"".join(tree.leaf_hashes(ITEMS))
    assert store.tile_bytes("tile/0/000", size=70_000) == level0[:8192]
    assert store.tile_bytes("tile/0/272", size=70_000) == level0[272 * 8192 : 273 * 8192]
    assert store.tile_bytes("tile/0/273.p/112", size=70_000) == level0[273 * 8192 :]
    assert store.tile_bytes("tile/0/273.p/5", size=70_000) == level0[273 * 8192 :][: 5 * 32]  # of an earlier checkpoint
    assert len(store.tile_bytes("tile/1/000", size=70_000)) == 8192
    assert len(store.tile_bytes("tile/1/001.p/17", size=70_000)) == 17 * 32
    assert store.tile_bytes("tile/2/000.p/1", size=70_000) == tree.root_of(ITEMS[:65_536])
    bundle = store.tile_bytes("tile/entries/273.p/112", size=70_000)
    assert bundle == b"".join(b"\x00\x2f" + e for e in ITEMS[69_888:])
    for absent in (
        "tile/0/273",
        "tile/0/273.p/113",
        "tile/1/001",
        "tile/2/000",
        "tile/2/000.p/2",
        "tile/3/000.p/1",
        "tile/64/000.p/1",
        "tile/0/274.p/1",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/00/000",
        "tile/0/x000/000",
        "tile/0/0",
        "tile/0/000/",
        "tile/0/../../head",
        "tile/entries/x000/000",
        "tile/0/٠٠٠",
        "checkpoint",
        "",
        "/tile/0/000",
        "tile/0/000\n",
    ):
        with pytest.raises(NoSuchTile):
            store.tile_bytes(absent, size=70_000)
    # What is written but not published yet is not served.
    with pytest.raises(NoSuchTile):
        store.tile_bytes("tile/0/272", size=69_000)
    store.close()


def test_paths_count_in_groups_of_three() -> None:
    assert tile_path("0", 1_234_067) == "tile/0/x001/x234/067"
    assert tile_path("entries", 999, 3) == "tile/entries/999.p/3"
    assert tile_path("1", 1000) == "tile/1/x001/000"


@given(st.text(max_size=80) | st.from_regex(r"tile/(entries|[0-9]{1,2})/(x[0-9]{3}/){0,3}[0-9]{3}(\.p/[0-9]{1,3})?", fullmatch=True))
def test_any_path_gives_bytes_or_no_such_tile(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    with TileReader(tmp_path_factory.getbasetemp()) as reader, pytest.raises(TlogError):
        reader.tile_bytes(path, size=0)


def test_a_wrong_entry_adds_nothing(tmp_path: Path) -> None:
    store = fill(tmp_path, [10])
    before = store.sync()
    with pytest.raises(Malformed):
        store.append([ITEMS[10], b"short"])
    assert store.sync() == before
    store.append(ITEMS[10:20])
    assert store.sync().root == tree.root_of(ITEMS[:20])
    store.close()


@pytest.mark.parametrize("name", ["entries", "level0", "level1"])
def test_recovery_cuts_what_is_too_much_and_refuses_what_is_too_little(tmp_path: Path, name: str) -> None:
    store = fill(tmp_path, [600])
    store.sync()
    store.close()
    file = tmp_path / name
    whole = file.read_bytes()
    file.write_bytes(whole + b"torn")
    store = TileStore(tmp_path)
    assert store.recover(600) == tree.root_of(ITEMS[:600])
    assert file.read_bytes() == whole
    assert store.recover(512) == tree.root_of(ITEMS[:512])
    store.append(ITEMS[512:600])
    assert store.sync().root == tree.root_of(ITEMS[:600])
    store.close()
    file.write_bytes(whole[:-1])
    with pytest.raises(Damaged):
        TileStore(tmp_path).recover(600)
