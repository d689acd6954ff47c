"""Codings: undone whatever the pieces, refused where they lie, and stopped at the cap with little in memory."""

from __future__ import annotations

import base64
import contextlib
import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from courier.body.codings import PIECE_BYTES, TooLarge, Undecodable, decoded
from courier.body.names import BASE64, CODINGS, GZIP, ZSTD
from tests.examples import examples

MIB = 1 << 20
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    BASE64: base64.b64encode,
    GZIP: lambda data: gzip.compress(data, mtime=0),
    ZSTD: zstd.compress,
}


def decode(body: bytes, codings: list[str], most_bytes: int) -> bytes:
    return b"".join(decoded((body,), codings, most_bytes))


def encode(body: bytes, codings: list[str]) -> bytes:
    for coding in reversed(codings):
        body = ENCODERS[coding](body)
    return body


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(st.binary(max_size=5000), st.lists(st.sampled_from(CODINGS), max_size=4), st.integers(1, 3000))
@run_with(max_examples=examples(2000), deadline=None)
def test_codings_are_undone_whatever_the_pieces(body: bytes, codings: list[str], size: int) -> None:
    # The inner body of base64 may begin like gzip by chance, but what gzip is around it is binary.
    whole = encode(body, codings)
    assert b"".join(decoded(cut(whole, size), codings, 10 * MIB)) == body
    assert decode(whole, codings, 10 * MIB) == body


@given(st.binary(max_size=3000), st.sampled_from([GZIP, ZSTD]), st.sampled_from(["plain", "lines", "url", "bare"]))
@run_with(max_examples=examples(1000), deadline=None)
def test_the_base64_that_a_binary_format_has_in_a_message_is_undone_too(body: bytes, coding: str, form: str) -> None:
    whole = ENCODERS[coding](body)
    text = {
        "plain": base64.b64encode(whole),
        "lines": base64.encodebytes(whole).replace(b"\n", b"\r\n"),
        "url": base64.urlsafe_b64encode(whole),
        "bare": base64.b64encode(whole).rstrip(b"="),
    }[form]
    assert decode(text, [coding], 10 * MIB) == body


@given(st.binary(min_size=1, max_size=300), st.sampled_from([GZIP, ZSTD]), st.data())
@run_with(max_examples=examples(3000), deadline=None)
def test_what_is_damaged_is_refused_or_the_same(body: bytes, coding: str, data: st.DataObject) -> None:
    whole = bytearray(ENCODERS[coding](body))
    match data.draw(st.sampled_from(["cut", "flipped", "more"])):
        case "cut":
            del whole[data.draw(st.integers(0, len(whole) - 1)) :]
        case "flipped":
            whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        case "more":
            whole += b"x" + data.draw(st.binary(max_size=9))
    with contextlib.suppress(Undecodable):
        # Zstd has no checksum of the content by default.
        assert decode(bytes(whole), [coding], MIB) == body or coding == ZSTD


@given(st.binary(max_size=200), st.lists(st.sampled_from(CODINGS), min_size=1, max_size=4))
@run_with(max_examples=examples(3000), deadline=None)
def test_no_bytes_at_all_raise_anything_else(body: bytes, codings: list[str]) -> None:
    with contextlib.suppress(Undecodable, TooLarge):
        decode(body, codings, MIB)


@pytest.mark.parametrize("coding", [GZIP, ZSTD])
def test_members_one_after_another_are_one_body(coding: str) -> None:
    assert decode(ENCODERS[coding](b"a" * 9) + ENCODERS[coding](b"b"), [coding], 100) == b"aaaaaaaaab"


def test_zeros_behind_gzip_are_padding_and_other_bytes_are_not() -> None:
    assert decode(gzip.compress(b"a") + bytes(100_000), [GZIP], 100) == b"a"
    with pytest.raises(Undecodable):
        decode(gzip.compress(b"a") + bytes(10) + b"x", [GZIP], 100)


def bomb(coding: str, size: int) -> bytes:
    """Return what unfolds to so many zeros."""
    if coding == ZSTD:
        return zstd.compress(bytes(size), 19)
    deflate = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    return b"".join([deflate.compress(bytes(MIB)) for _ in range(size // MIB)]) + deflate.flush()


@pytest.mark.parametrize("codings", [[GZIP], [ZSTD], [GZIP, GZIP], [ZSTD, GZIP], [GZIP, ZSTD, GZIP]])
def test_a_bomb_is_stopped_at_the_cap_with_a_few_pieces_in_memory(codings: list[str]) -> None:
    whole = bomb(codings[-1], 200 * MIB)
    for coding in reversed(codings[:-1]):
        whole = ENCODERS[coding](whole)
    cap = 4 * MIB
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            for _ in decoded((whole,), codings, cap):
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * PIECE_BYTES


def test_a_body_of_exactly_the_cap_passes() -> None:
    assert len(decode(gzip.compress(bytes(1000)), [GZIP], 1000)) == 1000
    with pytest.raises(TooLarge):
        decode(gzip.compress(bytes(1001)), [GZIP], 1000)


@pytest.mark.parametrize("coding", [GZIP, ZSTD])
def test_a_body_of_countless_empty_members_is_refused(coding: str) -> None:
    with pytest.raises(Undecodable, match="members"):
        decode(ENCODERS[coding](b"") * 20_000, [coding], MIB)
