"""Answers made at random and then spoilt, against the native session and a reader that knows nothing but the RFC."""

from __future__ import annotations

import itertools
import re
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.http.answer import Answer
from courier.recipient.policy import DEFAULT_SUCCESS, AnswerRules, is_success, parse_statuses
from tests.examples import examples
from tests.unit.http.test_connection import HINTS, End, Sessions

RULES: Final = AnswerRules.of(parse_statuses(DEFAULT_SUCCESS), frozenset(), frozenset())
CAP: Final = Sessions().limits.answer_cap

_HEAD: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?\r\n"  # whatever the reason is, nobody reads it
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n"
)
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[^\r\n]*)?\r\n")


class NoAnswer(Exception):
    """Those bytes are no complete answer."""


def strictly(raw: bytes, *, ended: bool) -> tuple[int, bytes, bool]:
    """Read one final answer as RFC 9112 has it: status, body up to the cap, and whether HTTP/1.0 had chunks."""
    while True:
        head = _HEAD.match(raw)
        if head is None:
            raise NoAnswer
        raw = raw[head.end() :]
        if not head[2].startswith(b"1"):
            break
    fields = [line.split(b":", 1) for line in head[3].split(b"\r\n")[:-1]]
    lengths = [value.strip(b" \t") for name, value in fields if name.lower() == b"content-length"]
    codings = [
        coding.strip(b" \t").lower()
        for name, value in fields
        if name.lower() == b"transfer-encoding"
        for coding in value.split(b",")
    ]
    status = int(head[2])
    if codings:
        if lengths or codings.count(b"chunked") != 1 or codings[-1] != b"chunked":
            raise NoAnswer
        old = head[1] == b"0"
        return (status, b"", old) if status in (204, 304) else (status, unchunked(raw), old)
    if len(lengths) > 1 or any(not length.isdigit() for length in lengths):
        raise NoAnswer
    if status in (204, 304):
        return status, b"", False
    if lengths:
        length = int(lengths[0])
        if len(raw) < min(length, CAP + 1):
            raise NoAnswer
        return status, raw[: min(length, CAP)], False
    if not ended and len(raw) <= CAP:
        raise NoAnswer
    return status, raw[:CAP], False


def unchunked(raw: bytes) -> bytes:
    body = b""
    while True:
        line = _CHUNK.match(raw)
        if line is None:
            raise NoAnswer
        size, raw = int(line[1], 16), raw[line.end() :]
        if size == 0:
            if not re.match(rb"(?:[^\r\n]+\r\n)*\r\n", raw):
                raise NoAnswer
            return body[:CAP]
        body += raw[:size]
        if len(body) > CAP:
            return body[:CAP]
        if raw[size : size + 2] != b"\r\n":
            raise NoAnswer
        raw = raw[size + 2 :]


SPOILS: Final = [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/2 ", b"RTSP/1.0", b"ICE/1.0",
    b"http/1.1", b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b",", b";", b":", b"0", b"1", b"2", b"100", b"204",
    b"200", b"20", b"2000",
    b"Content-Length: 2\r\n", b"Content-Length: 0\r\n", b"Content-Length: +2\r\n", b"Content-Length: 2, 2\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"chunked, ", b"chunked", b", gzip", b"0\r\n\r\n", b"2\r\nok\r\n", b"Connection: keep-alive\r\n",
    b"Connection: close\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
]  # fmt: skip

FRAMES: Final = [
    b"%b 200 OK\r\nContent-Length: %d\r\n\r\n%b",
    b"%b 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n",
    b"%b 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nX: y\r\n\r\n%x;a=b\r\n%b\r\n0\r\nT: u\r\n\r\n",
    b"%b 201 Created\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n%b",
    b"%b 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n",
]


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Make an answer, with interim ones before it at times, spoilt in up to three places."""
    body = draw(
        st.sampled_from([b"ok", b"x" * (CAP - 1), b"x" * (CAP + 1), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    )
    version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"ICE/1.0"]))
    raw = draw(st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", HINTS]))
    raw += draw(st.sampled_from(FRAMES)) % (version, len(body), body)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(raw)))
        raw = raw[:start] + draw(st.sampled_from(SPOILS)) + raw[start + draw(st.integers(0, 3)) :]
    return raw


@st.composite
def pieces(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    """Return the bytes in one piece, each alone, or cut in a few places."""
    places = draw(
        st.one_of(st.just(set[int]()), st.just(set(range(1, len(raw)))), st.sets(st.integers(0, len(raw)), max_size=5))
    )
    edges = sorted({0, *places, len(raw)})
    return [raw[a:b] for a, b in itertools.pairwise(edges)]


def credited(data: st.DataObject) -> None:
    """Ask three times over one connection; what counts as delivered has to be an answer, whole, and to this request."""
    session = Sessions(remembers=data.draw(st.booleans()))
    end = End(session)
    for number in range(3):
        raw = data.draw(answers())
        cut = data.draw(pieces(raw))
        unsent_until = data.draw(st.integers(0, len(cut))) if data.draw(st.integers(0, 3)) == 0 else 0
        given = b""
        for index, piece in enumerate(cut):
            end.wire.unsent = 1 if index < unsent_until else 0
            if not end.results and not end.wire.aborted:
                given += piece
                end.connection.data_received(piece)
            elif end.is_idle:
                # Left over from this exchange: nobody's answer, and the end of the connection.
                end.connection.data_received(piece)
                assert end.wire.aborted
                assert not end.is_idle
        ended = False
        if not end.results and not end.wire.aborted and data.draw(st.booleans()):
            ended = True
            end.connection.connection_lost(None)
        if not end.results:
            return
        result = end.results.pop()
        if is_success(result, RULES):
            assert isinstance(result, Answer)
            assert unsent_until == 0 or len(b"".join(cut[:unsent_until])) < len(given)
            status, body, old_chunks = strictly(given, ended=ended)
            assert (result.status, result.body) == (status, body)
            assert not (old_chunks and (number or end.is_idle))
        if not end.is_idle:
            assert end.wire.aborted or ended
            return
        end.ask()


@given(st.data())
@settings(max_examples=examples(400), deadline=None)
def test_nothing_but_a_whole_answer_to_this_request_counts_as_success(data: st.DataObject) -> None:
    credited(data)


@pytest.mark.full
@pytest.mark.timeout(400)
@given(st.data())
@settings(max_examples=8_000, deadline=None)
def test_nothing_but_a_whole_answer_counts_in_many_more_cases(data: st.DataObject) -> None:
    credited(data)


def test_the_strict_reader_takes_what_is_right() -> None:
    for frame, version in itertools.product(FRAMES, (b"HTTP/1.1", b"HTTP/1.0")):
        assert strictly(frame % (version, 2, b"ok"), ended=False)[:2] == (int(frame[3:6]), b"ok")
