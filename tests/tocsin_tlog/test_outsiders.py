"""Verifiers that share no code with us: coreutils + xxd + openssl (our shell script), and Go's x/mod/sumdb libraries."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tocsin_tlog.parts import AT_S, ORIGIN, entries, nodes, signers
from tocsin_tlog import checkpoint, note, proof, tree
from tocsin_tlog.checkpoint import Checkpoint

SCRIPT = Path(checkpoint.__file__).with_name("pubverify.sh")
VKEY = signers()[0].vkey
GO_MOD = Path("/usr/share/gocode/src/golang.org/x/mod")
SIZES = [*range(1, 18), 33, 100]

no_tools = pytest.mark.skipif(not all(map(shutil.which, ("bash", "xxd", "openssl"))), reason="apt install xxd openssl")
no_go = pytest.mark.skipif(not (shutil.which("go") and GO_MOD.exists()), reason="apt install golang-go golang-golang-x-mod-dev")


def signed(size: int, keys: list[note.Signer]) -> bytes:
    return checkpoint.sign(Checkpoint(ORIGIN, size, tree.root_of(entries(0, size))), keys, at_s=AT_S)


def proof_text(index: int, size: int) -> str:
    return proof.format_proof(index=index, hashes=proof.inclusion(index, size, nodes(entries(0, size))), signed=signed(size, signers()))


def pubverify(folder: Path, text: str, entry: bytes, vkey: str = VKEY) -> bool:
    (folder / "p").write_text(text)
    (folder / "e").write_bytes(entry)
    (folder / "k").write_text(vkey + "\n")
    done = subprocess.run([SCRIPT, folder / "p", folder / "e", folder / "k"], capture_output=True, text=True, cwd=folder)
    assert done.returncode in (0, 1, 2)
    assert (done.returncode == 0) == (done.stdout == "inclusion OK\nsignature OK\n"), done.stderr
    return done.returncode == 0


@no_tools
def test_pubverify_accepts_the_truth_and_refuses_every_lie(tmp_path: Path) -> None:
    rng = random.Random(6962)
    for size in SIZES:
        index = rng.randrange(size)
        text, entry = proof_text(index, size), entries(index, index + 1)[0]
        assert pubverify(tmp_path, text, entry), (index, size)
        lines = text.split("\n")
        blank = lines.index("")
        root_at, signature_at = blank + 3, blank + 5

        def changed(at: int, new: str, lines: list[str] = lines) -> str:
            return "\n".join([*lines[:at], new, *lines[at + 1 :]])

        other = rng.choice([s for s in (*SIZES, 1000) if s != size])
        lies = [
            changed(1, f"index {(index + 1) % size if size > 1 else 1}"),
            changed(blank + 2, str(other)),
            changed(root_at, "A" * 43 + "="),
            changed(signature_at, lines[signature_at][:-8] + "AAAAAAA="),
            changed(0, "c2sp.org/tlog-proof@v2"),
        ]
        if blank > 2:
            at = rng.randrange(2, blank)
            lies += [changed(at, "B" * 43 + "="), "\n".join(lines[:at] + lines[at + 1 :])]
        lies.append("\n".join([*lines[:blank], "C" * 43 + "=", *lines[blank:]]))
        for lie in lies if size in (1, 7, 100) else rng.sample(lies, 2):  # a run of the script costs 30 ms
            assert not pubverify(tmp_path, lie, entry), (index, size, lie)
        assert not pubverify(tmp_path, text, entry[:-1] + bytes([entry[-1] ^ 1]))


@no_tools
def test_pubverify_finds_its_line_among_others(tmp_path: Path) -> None:
    """Both log keys bear one name; the line is chosen by key id wherever it stands. Another's key is refused."""
    items = entries(0, 9)
    head = "\n".join(proof_text(4, 9).split("\n\n")[:1]) + "\n\n"
    for order in (signers(), signers()[::-1]):
        assert pubverify(tmp_path, head + signed(9, order).decode(), items[4])
    stranger = note.Signer(ORIGIN, note.Kind.ED25519, b"x" * 32)
    assert not pubverify(tmp_path, proof_text(4, 9), items[4], stranger.vkey)
    assert not pubverify(tmp_path, proof_text(4, 9), items[4], signers()[1].vkey)
    stolen = VKEY.split("+")
    swapped = "+".join([stolen[0], stolen[1], stranger.vkey.split("+", 2)[2]])  # our id over another's key
    assert not pubverify(tmp_path, proof_text(4, 9), items[4], swapped)


@no_go
def test_go_agrees(tmp_path: Path) -> None:
    """Go's note.Open, tlog.CheckRecord, CheckTree, and its own tile reader over the paths that we serve."""
    from tocsin_tlog.tiles import TileStore, tile_path

    build = tmp_path / "build"
    build.mkdir()
    shutil.copy(Path(__file__).with_name("outsider.go.txt"), build / "main.go")
    (build / "go.mod").write_text(f"module outsider\ngo 1.19\nrequire golang.org/x/mod v0.0.0\nreplace golang.org/x/mod => {GO_MOD}\n")
    env = os.environ | {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOCACHE": str(tmp_path / "cache"), "GOPATH": str(tmp_path / "gopath")}
    subprocess.run(["go", "build", "-o", tmp_path / "outsider", "."], cwd=build, env=env, check=True, capture_output=True)

    rng = random.Random(9162)
    size = 66_000
    items = entries(0, size)
    store = TileStore(tmp_path / "log")
    store.folder.mkdir()
    store.recover(0)
    store.append(items)
    served = tmp_path / "served"
    for level in range(3):
        count = size >> (8 * level)
        for n in range(-(-count // 256)):
            path = tile_path(str(level), n, min(256, count - 256 * n))
            (served / path).parent.mkdir(parents=True, exist_ok=True)
            (served / path).write_bytes(store.tile_bytes(path, size=size))

    cases: list[dict[str, object]] = []

    def add(kind: str, wanted: bool, **fields: object) -> None:
        cases.append({"kind": kind, "wanted": wanted, "vkey": VKEY} | fields)

    for n in [*SIZES, *(rng.randint(18, 1500) for _ in range(40))]:
        index = rng.randrange(n)
        text, leaf = proof_text(index, n), items[index].hex()
        add("proof", True, text=text, entry=leaf)
        add("proof", False, text=text, entry=items[index + 1].hex())
        add("proof", False, text=text.replace(f"\n{n}\n", f"\n{n + 1}\n"), entry=leaf)
        old = rng.randint(1, n)
        hashes = [h.hex() for h in proof.consistency(old, n, nodes(items[:n]))]
        roots = {"old": signed(old, signers()).decode(), "new": signed(n, signers()[::-1]).decode()}
        add("tree", True, hashes=hashes, **roots)
        add("tree", False, hashes=[*hashes, "00" * 32], **roots)
    full = signed(size, signers()).decode()
    for index in [0, 255, 256, 65_535, 65_536, size - 1, *(rng.randrange(size) for _ in range(50))]:
        add("tiles", True, folder=str(served), new=full, index=index, entry=items[index].hex())
        add("tiles", False, folder=str(served), new=full, index=index, entry=items[index - 1].hex())

    done = subprocess.run([tmp_path / "outsider"], input="\n".join(map(json.dumps, cases)), capture_output=True, text=True, check=True)
    answers = done.stdout.split()
    assert len(answers) == len(cases)
    wrong = [(case["kind"], case["wanted"]) for case, answer in zip(cases, answers, strict=True) if (answer == "OK") != case["wanted"]]
    assert not wrong
    store.close()
