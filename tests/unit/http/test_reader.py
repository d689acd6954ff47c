"""The reader of answers, fed in every way that a network might."""

from __future__ import annotations

import itertools
import time
from typing import Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.http.reader import FRAMING_CAP, AnswerReader, BadAnswer
from tests.examples import examples

CAP: Final = 300


class Read(NamedTuple):
    """What a reader made of an answer."""

    complete: bool
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    truncated: bool
    reusable: bool


def read(reader: AnswerReader, pieces: list[bytes], *, to_the_end: bool = False) -> Read:
    complete = False
    for piece in pieces:
        complete = complete or reader.feed(piece)
    if to_the_end and not complete:
        complete = reader.at_eof()
    body = b"".join(reader.chunks)
    return Read(complete, reader.status, reader.headers, body, reader.truncated, reader.reusable)


tokens = st.text("abcXYZ-09", min_size=1, max_size=8)
values = st.text('abc ;,=\t"09ü'.replace("ü", "\xfc"), max_size=12)
headers = st.lists(st.tuples(tokens.map(lambda t: "X-" + t), values), max_size=4)
bodies = st.binary(max_size=CAP)


def rendered(pairs: list[tuple[str, str]]) -> bytes:
    return b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in pairs)


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    parts = []
    rest = body
    while rest:
        size = draw(st.integers(1, len(rest)))
        extension = draw(st.sampled_from([b"", b";a", b";a=b"]))
        parts.append(b"%x%b\r\n%b\r\n" % (size, extension, rest[:size]))
        rest = rest[size:]
    return b"".join(parts) + b"0\r\n" + rendered(draw(headers)) + b"\r\n"


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, int, list[tuple[bytes, bytes]], bytes, bool]:
    """Raw bytes, and the status, headers, body and whether only the end of the connection ends it."""
    interim = draw(st.lists(st.sampled_from([100, 102, 103, 199]), max_size=2))
    raw = b"".join(b"HTTP/1.1 %d Wait\r\n%b\r\n" % (status, rendered(draw(headers))) for status in interim)
    status = draw(st.sampled_from([200, 201, 204, 302, 304, 404, 503, 599]))
    pairs = draw(headers)
    body = b"" if status in (204, 304) else draw(bodies)
    framing = draw(st.sampled_from(["length", "chunked", "end"])) if status not in (204, 304) else "none"
    if framing == "length":
        pairs = [*pairs, ("Content-Length", str(len(body)))]
    elif framing == "chunked":
        pairs = [("Transfer-Encoding", "chunked"), *pairs]
    raw += b"HTTP/1.1 %d Reason\r\n%b\r\n" % (status, rendered(pairs))
    raw += draw(chunked(body)) if framing == "chunked" else body
    expected = [(n.lower().encode(), v.strip(" \t").encode("latin-1")) for n, v in pairs]
    return raw, status, expected, body, framing == "end"


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    if not data:
        return []
    places = draw(st.one_of(st.just(set(range(1, len(data)))), st.sets(st.integers(1, len(data)), max_size=8)))
    edges = [0, *sorted(places - {len(data)}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@settings(max_examples=examples(300), deadline=None)
@given(st.data())
def test_an_answer_reads_the_same_however_it_is_cut(data: st.DataObject) -> None:
    reader = AnswerReader(CAP)
    for _ in range(data.draw(st.integers(1, 3))):
        raw, status, expected, body, endless = data.draw(answers())
        got = read(reader, data.draw(cuts(raw)), to_the_end=True)
        assert got == Read(True, status, expected, body, False, not endless)
        if endless:
            return
        reader.reset()


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_a_part_of_an_answer_is_never_an_answer(data: st.DataObject) -> None:
    raw, _, _, _, endless = data.draw(answers())
    part = raw[: data.draw(st.integers(0, len(raw) - 1))]
    if endless and b"\r\n\r\nX" in part + b"X":
        return  # its head is whole: any end would do
    reader = AnswerReader(CAP)
    got = read(reader, data.draw(cuts(part)), to_the_end=not endless)
    assert not got.complete


@settings(max_examples=examples(200), deadline=None)
@given(st.data(), st.integers(CAP + 1, CAP * 4))
def test_a_body_over_the_cap_is_cut_at_the_same_byte_however_it_comes(data: st.DataObject, size: int) -> None:
    body = bytes(i % 251 for i in range(size))
    form = data.draw(st.sampled_from(["length", "chunked", "end"]))
    if form == "length":
        raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, body)
    elif form == "chunked":
        raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data.draw(chunked(body))
    else:
        raw = b"HTTP/1.1 200 OK\r\n\r\n" + body
    got = read(AnswerReader(CAP), data.draw(cuts(raw)))
    assert (got.complete, got.body, got.truncated, got.reusable) == (True, body[:CAP], True, False)


@settings(max_examples=examples(300), deadline=None)
@given(st.data(), st.binary(min_size=1, max_size=50).filter(lambda extra: extra.strip(b"\r\n") != b""))
def test_bytes_behind_an_answer_never_change_it_and_end_the_reuse(data: st.DataObject, extra: bytes) -> None:
    raw, status, expected, body, endless = data.draw(answers())
    if endless:
        return
    got = read(AnswerReader(CAP), [raw + extra])
    assert got == Read(True, status, expected, body, False, False)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_noise_is_a_bad_answer_or_none(pieces: list[bytes]) -> None:
    reader = AnswerReader(CAP)
    try:
        got = read(reader, pieces, to_the_end=True)
    except BadAnswer:
        return
    assert not got.complete


def test_a_head_is_bounded_whether_it_comes_at_once_or_in_pieces() -> None:
    raw = b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * (FRAMING_CAP + 1) + b"\r\nContent-Length: 0\r\n\r\n"
    for pieces in ([raw], [raw[i : i + 1000] for i in range(0, len(raw), 1000)]):
        with pytest.raises(BadAnswer, match="65536"):
            read(AnswerReader(CAP), pieces)


def test_a_large_head_within_the_bound_is_read() -> None:
    raw = b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * (FRAMING_CAP - 200) + b"\r\nContent-Length: 0\r\n\r\n"
    assert read(AnswerReader(CAP), [raw]).complete


def test_a_body_in_chunks_of_one_byte_is_no_bomb() -> None:
    body = b"x" * 200_000
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * len(body) + b"0\r\n\r\n"
    pieces = [raw[i : i + 50_000] for i in range(0, len(raw), 50_000)]
    assert read(AnswerReader(1 << 20), pieces).body == body


def test_the_first_byte_is_that_of_the_final_answer() -> None:
    reader = AnswerReader(CAP)
    reader.feed(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert reader.first_byte_at == 0.0
    assert reader.received == 25
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    reader.feed(b"H")
    after = time.clock_gettime(time.CLOCK_BOOTTIME)
    reader.feed(b"TTP/1.1 204 No Content\r\n\r\n")
    assert before <= reader.first_byte_at <= after
