"""Notes, keys and checkpoints: vectors of others, round trips, and parsers that refuse anything else in their own words."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tocsin_tlog.parts import AT_S, ORIGIN, entries, nodes, signers
from tocsin_tlog import checkpoint, note, proof, tree
from tocsin_tlog.checkpoint import Checkpoint
from tocsin_tlog.errors import Malformed, TlogError, Unverified

# The example of Go's x/mod/sumdb/note documentation.
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETER_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()


def signed(size: int = 5) -> bytes:
    return checkpoint.sign(Checkpoint(ORIGIN, size, tree.root_of(entries(0, size))), signers(), at_s=AT_S)


def vkeys() -> list[str]:
    return [s.vkey for s in signers()]


def test_the_note_of_go() -> None:
    parts = note.parse(PETER_NOTE)
    assert [v.name for v in note.verify(parts, [PETER_VKEY])] == ["PeterNeumann"]
    signer = note.Signer.of(PETER_SKEY)
    assert signer.vkey == PETER_VKEY
    assert signer.skey == PETER_SKEY
    assert note.sign(parts.text, [signer], at_s=0) == PETER_NOTE


def test_both_kinds_sign_and_each_alone_is_enough() -> None:
    data = signed()
    value, found = checkpoint.open_signed(data, vkeys())
    assert (value.origin, value.size, value.root) == (ORIGIN, 5, tree.root_of(entries(0, 5)))
    assert [(v.kind, v.at_s) for v in found] == [(note.Kind.ED25519, None), (note.Kind.ML_DSA_44, AT_S)]
    for key, kind in zip(vkeys(), (note.Kind.ED25519, note.Kind.ML_DSA_44), strict=True):
        assert [v.kind for v in checkpoint.open_signed(data, [key])[1]] == [kind]
    backwards = note.sign(value.text(), signers()[::-1], at_s=AT_S)
    assert len(checkpoint.open_signed(backwards, vkeys())[1]) == 2


def test_a_witness_cosigns() -> None:
    witness = note.Signer("witness.example/w1", note.Kind.ED25519_COSIGNATURE, b"w" * 32)
    data = signed() + witness.line(note.parse(signed()).text, at_s=AT_S + 1)
    _, found = checkpoint.open_signed(data, [*vkeys(), witness.vkey])
    assert [(v.name, v.at_s) for v in found][-1] == ("witness.example/w1", AT_S + 1)


def test_foreign_keys_are_ignored_and_a_broken_line_of_a_trusted_key_spoils_the_note() -> None:
    data = signed()
    stranger = note.Signer(ORIGIN, note.Kind.ED25519, b"x" * 32)
    with pytest.raises(Unverified):
        checkpoint.open_signed(data, [stranger.vkey])
    assert len(checkpoint.open_signed(data + stranger.line(note.parse(data).text, at_s=0), vkeys())[1]) == 2
    for key, kind in zip(vkeys(), (0, 1), strict=True):
        line = data.split(b"\n")[4 + kind]
        raw = bytearray(base64.b64decode(line.split(b" ")[2]))
        raw[-1] ^= 1
        broken = data.replace(line.split(b" ")[2], base64.b64encode(raw))
        with pytest.raises(Unverified):
            checkpoint.open_signed(broken, [key])
    for old, new in ((b"\n5\n", b"\n6\n"), (ORIGIN.encode() + b"\n5", ORIGIN.encode() + b"x\n5")):
        with pytest.raises(Unverified):
            checkpoint.open_signed(data.replace(old, new, 1), vkeys())


def test_the_time_of_a_timestamped_line_is_signed() -> None:
    data = signed()
    line = data.split(b"\n")[5].split(b" ")[2]
    raw = bytearray(base64.b64decode(line))
    raw[11] ^= 1  # the last byte of the time
    with pytest.raises(Unverified):
        checkpoint.open_signed(data.replace(line, base64.b64encode(raw)), [vkeys()[1]])


def test_keys_survive_as_text_and_bad_texts_are_refused() -> None:
    for signer in signers():
        assert note.Signer.of(signer.skey).vkey == signer.vkey
        assert note.Verifier.of(signer.vkey + "\n").vkey == signer.vkey
        assert signer.skey not in repr(signer)
    good = signers()[0].vkey
    name, key_id, blob = good.split("+", 2)
    flipped = f"{int(key_id, 16) ^ 1:08x}"
    for bad in (
        "",
        name,
        f"{name}+{key_id}",
        f"{name}+{flipped}+{blob}",
        f"{name}+{key_id}+!",
        f"x{good}",
        f"{name}+{key_id}+AQ==",
        f"a b+{key_id}+{blob}",
        f"{name}+{key_id.upper()}Z+{blob}",
    ):
        with pytest.raises(Malformed):
            note.Verifier.of(bad)
        with pytest.raises(Malformed):
            note.Signer.of(bad)


def test_the_proof_text_holds_ed25519_only_and_is_short() -> None:
    items = entries(0, 5)
    text = proof.format_proof(index=3, hashes=proof.inclusion(3, 5, nodes(items)), signed=signed())
    assert text.split("\n")[:2] == ["c2sp.org/tlog-proof@v1", "index 3"]
    assert len(text) < 2000
    assert proof.verify_proof(text.encode(), entry=items[3], vkeys=vkeys()).size == 5
    assert [v.kind for v in note.verify(note.parse(proof.parse_proof(text.encode()).signed), vkeys())] == [note.Kind.ED25519]
    with pytest.raises(Unverified):
        proof.verify_proof(text.encode(), entry=items[2], vkeys=vkeys())
    extra = text.replace("index 3", "extra aGVsbG8=\nindex 3").encode()
    assert proof.parse_proof(extra).extra == b"hello"
    for bad in ("index 03", "index 5", "index -1", "index 9999999999999999999999", "index"):
        with pytest.raises(TlogError):
            proof.verify_proof(text.replace("index 3", bad).encode(), entry=items[3], vkeys=vkeys())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"a\n1\n",
        b"a\n01\n" + b"A" * 43 + b"=\n",
        b"a\n1\nAAAA\n",
        b"a\n+1\n" + b"A" * 43 + b"=\n",
        b"a\n1\n" + b"A" * 43 + b"=",
        b"a\n1\n" + b"A" * 43 + b"=\n\n",
        b"\n1\n" + b"A" * 43 + b"=\n",
        "a\n١\n".encode() + b"A" * 43 + b"=\n",
        b"a\n1\n" + b"A" * 42 + b"B=\n",
        b"a\n9223372036854775808\n" + b"A" * 43 + b"=\n",
    ],
)
def test_near_checkpoints_are_refused(text: bytes) -> None:
    with pytest.raises(Malformed):
        checkpoint.parse(text)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_as_a_note_or_a_checkpoint(data: bytes) -> None:
    for parse in (note.parse, checkpoint.parse, checkpoint.parse_signed, lambda d: note.Verifier.of(d.decode("latin-1"))):
        with pytest.raises(TlogError):
            parse(data)


@given(st.integers(0, len(signed()) - 1), st.integers(0, 255))
def test_one_changed_byte_never_passes_nor_crashes(at: int, byte: int) -> None:
    data = bytearray(signed())
    if data[at] == byte:
        return
    data[at] = byte
    try:
        value, found = checkpoint.open_signed(bytes(data), vkeys())
    except TlogError:
        return
    # What may pass: the change made a line that no trusted key claims, and the other line still vouches for the true head.
    assert len(found) == 1
    assert value == checkpoint.parse_signed(signed())[0]


@given(st.text(max_size=40), st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_checkpoints_round_trip_or_are_refused(origin: str, size: int, root: bytes) -> None:
    value = Checkpoint(origin, size, root)
    try:
        text = value.text()
        assert checkpoint.parse(text) == value
    except (Malformed, UnicodeEncodeError):
        assert not origin or "\n" in origin or any("\ud800" <= c <= "\udfff" for c in origin)
