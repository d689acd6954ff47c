"""Each thing that a recipient does to a request, as the client sees it and as it counts."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from scripts.faults.events import Delivery, digest
from scripts.faults.recipient import Recipient
from scripts.faults.recipient_acts import AT_END, AT_HEAD
from scripts.faults.recipient_behaviours import ANSWERS, Behaviour
from tests.process.world import until
from tests.unit.faults.recipient_client import OK, Client, connected, head, new_id

LARGE = b"x" * (32 << 20)
"""More than the kernel takes while nobody reads."""


@pytest.fixture
def recipient() -> Iterator[Recipient]:
    with Recipient() as running:
        yield running


def held(recipient: Recipient) -> set[str]:
    return {name for each in recipient.held for name in each.message_ids}


def only(recipient: Recipient) -> Delivery:
    (delivery,) = recipient.deliveries
    return delivery


def assert_lost(recipient: Recipient, status: int) -> None:
    """The answer is lost, whatever the client does then."""
    assert only(recipient).answered is None
    until(lambda: only(recipient).status == status)
    assert recipient.accepted == {}
    until(lambda: not recipient.open)
    assert only(recipient).answered is None


def assert_ambiguous(recipient: Recipient) -> None:
    until(lambda: only(recipient).answered)
    assert only(recipient).status == 200
    assert held(recipient) == {only(recipient).message_id}
    assert len(recipient.held) == 1


def assert_clean(recipient: Recipient, status: int = 200) -> None:
    assert only(recipient).answered is not None
    assert only(recipient).status == status
    assert recipient.held == []


def assert_spoiled(recipient: Recipient, client: Client) -> None:
    """What the client sends next is recorded and never answered."""
    name = new_id()
    client.send(name)
    until(lambda: (name, client.port) in recipient.open)
    assert client.is_silent()
    assert recipient.deliveries[-1].answered is None
    assert recipient.accepted[name] == 0


def ask(recipient: Recipient, *behaviours: Behaviour) -> tuple[bytes, bool]:
    """Send a request; gives what comes until the recipient closes, and whether it resets."""
    recipient.behave = behaviours
    with connected(recipient) as client:
        client.send(new_id())
        return client.read_to_end()


def test_each_kind_has_its_act() -> None:
    assert set(AT_END) == set(ANSWERS)
    assert set(AT_HEAD) < set(ANSWERS)


def test_silent_keeps_the_connection_and_says_nothing(recipient: Recipient) -> None:
    recipient.behave = Behaviour("silent")
    with connected(recipient) as client:
        client.send(new_id())
        assert client.is_silent()
        assert len(recipient.open) == 1
    assert_lost(recipient, 0)


def test_late_answers_on_a_connection_that_answers_nothing_else(recipient: Recipient) -> None:
    recipient.behave = Behaviour("late", seconds=0.3)
    with connected(recipient) as client:
        assert client.ask(new_id()) == OK
        assert_ambiguous(recipient)
        assert_spoiled(recipient, client)


def test_a_request_sent_before_the_late_answer_gets_none(recipient: Recipient) -> None:
    recipient.behave = Behaviour("late", seconds=0.5)
    first, second = new_id(), new_id()
    with connected(recipient) as client:
        client.send(first)
        client.send(second)
        assert client.read(len(OK)) == OK
        assert client.is_silent()
    assert [each.answered is None for each in recipient.deliveries] == [False, True]
    assert held(recipient) == {first}
    assert recipient.accepted == {first: 1}


def test_slow_headers_come_byte_by_byte(recipient: Recipient) -> None:
    recipient.behave = Behaviour("slow-headers", seconds=0.002)
    with connected(recipient) as client:
        client.send(new_id())
        pieces = [client.stream.recv(65536) for _ in range(3)]
        assert len(recipient.open) == 1
        assert b"".join(pieces) + client.read(len(OK) - sum(map(len, pieces))) == OK
        until(lambda: not recipient.open)
        assert_clean(recipient)


def test_a_client_that_gives_slow_headers_up_got_no_answer(recipient: Recipient) -> None:
    recipient.behave = Behaviour("slow-headers", seconds=0.1)
    with connected(recipient) as client:
        client.send(new_id())
        client.read(5)
    assert_lost(recipient, 200)


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("slow-body", b"HTTP/1.1 200 Recorded\r\nContent-Length: 1048576\r\n\r\nxxx"),
        ("endless-headers", b"HTTP/1.1 200 Recorded\r\nX: y\r\nX: y\r\nX: y\r\n"),
    ],
)
def test_an_answer_that_comes_to_no_end_is_lost(recipient: Recipient, kind: str, start: bytes) -> None:
    recipient.behave = Behaviour(kind)
    with connected(recipient) as client:
        client.send(new_id())
        assert client.read(len(start)) == start
        assert len(recipient.open) == 1
    assert_lost(recipient, 200)


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("endless-chunked", b"Transfer-Encoding: chunked\r\n\r\n4000\r\n\0\0"),
        ("endless-length", b"Content-Length: 1099511627776\r\n\r\n\0\0"),
        ("endless-unframed", b"\r\n\0\0"),
    ],
)
def test_a_body_without_end_may_count_or_not(recipient: Recipient, kind: str, start: bytes) -> None:
    recipient.behave = Behaviour(kind)
    with connected(recipient) as client:
        client.send(new_id())
        start = b"HTTP/1.1 200 Recorded\r\n" + start
        assert client.read(len(start)) == start
        assert len(client.read(200_000)) == 200_000
    until(lambda: not recipient.connections)
    assert_ambiguous(recipient)


def test_early_answers_before_it_has_read_the_body(recipient: Recipient) -> None:
    recipient.behave = Behaviour("early", seconds=30.0)
    with connected(recipient) as client:
        client.stream.sendall(head(new_id(), len(LARGE)))
        assert client.read(len(OK)) == OK
        client.stream.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.stream.sendall(LARGE)
    assert len(recipient.deliveries) == 0


def test_early_counts_once_the_request_is_whole(recipient: Recipient) -> None:
    recipient.behave = Behaviour("early")
    with connected(recipient) as client:
        assert client.ask(new_id(), LARGE) == OK
        until(lambda: recipient.deliveries)
        assert only(recipient).digest == digest(LARGE)
        assert_ambiguous(recipient)
        assert client.ask(new_id()) == OK


def test_reset_at_cuts_each_answer_a_byte_later(recipient: Recipient) -> None:
    recipient.behave = Behaviour("reset-at")
    for cut in range(len(OK) + 1):
        with connected(recipient) as client:
            client.send(new_id())
            assert client.read_to_end() == (OK[:cut], True)
    until(lambda: not recipient.open)
    *lost, whole = recipient.deliveries
    assert [each.status for each in lost] == [0] + [200] * (len(OK) - 1)
    assert {each.answered for each in lost} == {None}
    assert whole.answered is not None
    assert held(recipient) == {whole.message_id}
    assert recipient.accepted == {whole.message_id: 1}


def test_reset_before_body_records_nothing(recipient: Recipient) -> None:
    recipient.behave = Behaviour("reset-before-body")
    with connected(recipient) as client:
        client.stream.sendall(head(new_id(), 4) + b"body")
        assert client.read_to_end() == (b"", True)
    assert len(recipient.deliveries) == 0
    assert recipient.open == {}


def test_close_answers_and_ends_the_connection(recipient: Recipient) -> None:
    assert ask(recipient, Behaviour("close")) == (OK, False)
    assert_clean(recipient)


def test_unframed_ends_its_body_with_the_connection(recipient: Recipient) -> None:
    assert ask(recipient, Behaviour("unframed")) == (b"HTTP/1.1 200 Recorded\r\n\r\nok", False)
    assert_clean(recipient)


def test_interim_answers_come_before_the_answer(recipient: Recipient) -> None:
    recipient.behave = Behaviour("interim")
    with connected(recipient) as client:
        client.send(new_id())
        data = b""
        while not data.endswith(OK):
            data += client.stream.recv(65536)
        assert data.count(b"HTTP/1.1 103 ") == 3
        assert_ambiguous(recipient)
        recipient.behave = Behaviour()
        assert client.ask(new_id()) == OK


@pytest.mark.parametrize(
    ("kind", "start"), [("interim-flood", b"HTTP/1.1 103 Early Hints\r\n"), ("garbage", b"\x00\x01\xff\xfe 200 OK\r\n")]
)
def test_what_is_no_answer_is_lost(recipient: Recipient, kind: str, start: bytes) -> None:
    recipient.behave = Behaviour(kind)
    with connected(recipient) as client:
        client.send(new_id())
        assert client.read(len(start)) == start
        assert len(client.read(1000)) == 1000
    assert_lost(recipient, 0)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_leads_back_and_to_follow_it_is_no_delivery(recipient: Recipient, status: int) -> None:
    recipient.behave = Behaviour("redirect", status=status)
    location = f"Location: {recipient.url}/redirected\r\n".encode()
    start = f"HTTP/1.1 {status} Recorded\r\n".encode() + location
    name = new_id()
    with connected(recipient) as client:
        client.send(name)
        assert client.read(len(start)) == start
        client.read(len(b"Content-Length: 2\r\n\r\nok"))
        client.send(name, path="/in/redirected")
        assert client.read(len(OK)) == OK
    assert_clean(recipient, status)
    assert recipient.accepted == {}
    assert recipient.redirected == 1


def test_a_huge_header_may_be_too_much(recipient: Recipient) -> None:
    recipient.behave = Behaviour("huge-header")
    with connected(recipient) as client:
        client.send(new_id())
        data = b""
        while not data.endswith(b"\r\n\r\nok"):
            data += client.stream.recv(1 << 20)
        assert len(data) > 1 << 20
        assert_ambiguous(recipient)


def test_less_than_the_content_length_is_lost(recipient: Recipient) -> None:
    data = b"HTTP/1.1 200 Recorded\r\nContent-Length: 100\r\n\r\nhalf of it"
    assert ask(recipient, Behaviour("length-too-long")) == (data, False)
    assert_lost(recipient, 200)


@pytest.mark.parametrize(("kind", "surplus"), [("length-too-short", b"k" * 100), ("extra", OK)])
def test_bytes_beyond_an_answer_spoil_the_connection(recipient: Recipient, kind: str, surplus: bytes) -> None:
    recipient.behave = Behaviour(kind)
    with connected(recipient) as client:
        assert client.ask(new_id()) == OK
        assert client.read(len(surplus)) == surplus
        assert_ambiguous(recipient)
        assert_spoiled(recipient, client)


def test_a_second_answer_on_an_idle_connection_spoils_it_after_a_while(recipient: Recipient) -> None:
    recipient.behave = Behaviour("extra-idle")
    began = time.monotonic()
    with connected(recipient) as client:
        assert client.ask(new_id()) == OK
        assert_clean(recipient)
        assert client.read(len(OK)) == OK
        recipient.behave = Behaviour()
        crossing = new_id()
        client.send(crossing)
        until(lambda: len(recipient.deliveries) == 2)
        if recipient.deliveries[1].arrived < began + 1.2:  # a busy machine may have taken longer
            assert client.read(len(OK)) == OK
            assert held(recipient) == {crossing}
        spoiled = time.monotonic() + 1.1
        until(lambda: time.monotonic() > spoiled)
        assert_spoiled(recipient, client)


def test_no_second_answer_comes_on_a_connection_that_is_not_idle(recipient: Recipient) -> None:
    recipient.behave = Behaviour("extra-idle", seconds=3600.0)
    with connected(recipient) as client:
        assert client.ask(new_id()) == OK
        recipient.behave = Behaviour("delay", seconds=0.2)
        assert client.ask(new_id()) == OK
        assert client.is_silent()


def test_a_connection_is_used_again_after_each_proper_answer(recipient: Recipient) -> None:
    with connected(recipient) as client:
        for kind in ("delay", "status", "slow-headers"):
            recipient.behave = Behaviour(kind, seconds=0.001)
            client.ask(new_id())
            recipient.behave = Behaviour()
            assert client.ask(new_id()) == OK
    assert len(recipient.deliveries) == 6
    assert recipient.held == []
