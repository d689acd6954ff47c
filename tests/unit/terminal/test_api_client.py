"""The client of the API: it takes an answer that is one, and gives up every other in time and in one line."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.terminal.api_client import MOST_HEAD_BYTES, Address, Answer, Unreachable, get, parse_url
from tests.integration.misbehaving_server import MisbehavingServer, Peer, Script, deaf_port
from tests.ports import reserved_port

SHORT_SECONDS = 0.3
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def says(data: bytes, then: Callable[[Peer], None] = Peer.wait_for_close) -> Script:
    """Make a script: read the request, and send this, whole or byte by byte."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(data)
        then(peer)

    return script


def address(server: MisbehavingServer) -> Address:
    return Address("http", "127.0.0.1", server.port)


@pytest.mark.parametrize(
    ("said", "then", "answer"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", Peer.wait_for_close, Answer(200, b"{}")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{} and more", Peer.wait_for_close, Answer(200, b"{}")),
        (b"HTTP/1.0 503 Busy\r\n\r\n{}", Peer.close, Answer(503, b"{}")),
        (b"HTTP/1.1 204 None\r\ncontent-length:0\r\n\r\n", Peer.wait_for_close, Answer(204, b"")),
        (CHUNKED + b"1;x=y\r\n{\r\n01\r\n}\r\n0\r\n\r\n", Peer.wait_for_close, Answer(200, b"{}")),
    ],
)
def test_an_answer_is_read_up_to_its_end(said: bytes, then: Callable[[Peer], None], answer: Answer) -> None:
    def trickle(peer: Peer) -> None:
        peer.read_head()
        peer.trickle(said)
        then(peer)

    with MisbehavingServer(says(said, then), trickle) as server:
        assert get(address(server), "/status") == answer
        assert get(address(server), "/status") == answer


def test_the_request_is_one_that_the_api_takes() -> None:
    heads: list[bytes] = []

    def script(peer: Peer) -> None:
        heads.append(peer.read_head())
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with MisbehavingServer(script) as server:
        where = address(server)
        get(where._replace(path="/courier"), "/status")
    assert heads[0].startswith(b"GET /courier/status HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % where.port)


def sends_for_ever(data: bytes) -> Callable[[Peer], None]:
    return lambda peer: peer.send_for_ever(data)


def drips(peer: Peer) -> None:
    """Send a byte now and then, so that no single read takes long."""
    while True:
        peer.send(b"x")
        time.sleep(0.02)


SLOW = "no answer from {} within 0.3 s; see whether it hangs or is overloaded"
WRONG = "{}: what answers there is not Courier; give the address of Courier's --api with --url"
CUT = "cannot reach Courier at {}: the connection ended amid the answer; start it, or give the address of its --api "


@pytest.mark.parametrize(
    ("script", "line"),
    [
        (says(b""), SLOW),
        (says(b"HTTP/1.1 200 OK\r\n"), SLOW),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), SLOW),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", drips), SLOW),
        (says(b"HTTP/1.1 200 OK\r\n\r\n", drips), SLOW),
        (says(CHUNKED, drips), SLOW),
        (says(b"SSH-2.0-OpenSSH_9.6\r\n"), WRONG),
        (says(b"", Peer.close), WRONG),
        (says(b"HTTP/2 200\r\n\r\n"), WRONG),
        (says(b"HTTP/1.1 99 x\r\n\r\n"), WRONG),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), WRONG),
        (says(b"HTTP/1.1 200 OK\r\nX: ", sends_for_ever(b"y" * 1024)), WRONG),
        (says(CHUNKED + b"zz\r\n"), WRONG),
        (says(CHUNKED, sends_for_ever(b"1" * MOST_HEAD_BYTES)), WRONG),
        (says(CHUNKED + b"fffffff\r\n"), "{}: its answer has more than 8388608 bytes"),
        (says(b"HTTP/1.1 200 OK\r\n\r\n", sends_for_ever(b"x" * 4096)), "{}: its answer has more than 100000 bytes"),
        (says(CHUNKED, sends_for_ever(b"1\r\nx\r\n" * 512)), "{}: its answer has more than 100000 bytes"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", Peer.close), CUT),
        (says(CHUNKED + b"5\r\n{", Peer.close), CUT),
    ],
)
def test_what_is_slow_wrong_endless_or_silent_is_given_up_in_one_line(script: Script, line: str) -> None:
    seconds = SHORT_SECONDS if line is SLOW else 30.0
    with MisbehavingServer(script) as server:
        where = address(server)
        with pytest.raises(Unreachable) as caught:
            get(where, "/status", seconds, most=100_000)
    assert str(caught.value).startswith(line.format(where.url))
    assert caught.value.advice
    assert str(caught.value).isprintable()


def test_a_port_where_nobody_listens_or_accepts() -> None:
    with reserved_port() as port, pytest.raises(Unreachable, match="connection refused; start it, or give"):
        get(Address("http", "127.0.0.1", port), "/status")
    with deaf_port() as port, pytest.raises(Unreachable, match=r"no answer from .* within 0.3 s"):
        get(Address("http", "127.0.0.1", port), "/status", SHORT_SECONDS)


def test_a_name_that_cannot_be_resolved() -> None:
    for name in ("courier.invalid", "x" * 300):
        with pytest.raises(Unreachable, match=rf"cannot resolve {name}: |the name server doesn't answer"):
            get(Address("http", name, 80), "/status")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://127.0.0.1:8080", Address("http", "127.0.0.1", 8080)),
        ("HTTP://Courier.example/", Address("http", "Courier.example", 80)),
        ("https://[::1]:1/path/", Address("https", "::1", 1, "/path")),
        (" https://a ", Address("https", "a", 443)),
    ],
)
def test_a_url(text: str, address: Address) -> None:
    assert parse_url(text) == address
    assert parse_url(address.url) == address


@given(st.text() | st.text("htps:/@[].09?# \r\n", max_size=30).map("http://".__add__))
def test_any_other_text_is_no_url(text: str) -> None:
    try:
        found = parse_url(text)
    except ValueError:
        return
    assert parse_url(found.url) == found
    assert found.url.isprintable()
    assert not set(found.host + found.path) & set(" \r\n@")
