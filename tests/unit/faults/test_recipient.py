from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from scripts.faults.events import digest
from scripts.faults.injury import Injury
from scripts.faults.recipient import Recipient
from scripts.faults.recipient_behaviours import Behaviour
from tests.process.world import until
from tests.unit.faults.recipient_client import OK, Client, connected, head, new_id


@pytest.fixture
def recipient() -> Iterator[Recipient]:
    with Recipient() as running:
        yield running


def test_a_request_is_recorded_and_answered(recipient: Recipient) -> None:
    name, body = new_id(), bytes(range(256)) * 5000
    before = time.monotonic()
    with connected(recipient) as client:
        assert client.ask(name, body) == OK
        (delivery,) = recipient.deliveries
        assert delivery.message_id == name
        assert delivery.digest == digest(body)
        assert delivery.port == client.port
        assert delivery.status == 200
        assert delivery.answered is not None
        assert before <= delivery.arrived <= delivery.answered <= time.monotonic()
        assert client.ask(name) == OK
    assert recipient.accepted == {name: 2}
    assert recipient.open == {}
    assert recipient.held == []


def test_requests_that_come_in_pieces_and_together_are_told_apart(recipient: Recipient) -> None:
    names = [new_id() for _ in range(3)]
    data = b"".join(head(name, 5) + name[:5].encode() for name in names)
    with connected(recipient) as client:
        for start in range(0, len(data), 7):
            client.stream.sendall(data[start : start + 7])
        assert client.read(3 * len(OK)) == 3 * OK
    assert [(each.message_id, each.digest) for each in recipient.deliveries] == [
        (name, digest(name[:5].encode())) for name in names
    ]


def test_a_delayed_request_is_open_until_it_is_answered(recipient: Recipient) -> None:
    recipient.behave = Behaviour("delay", seconds=0.5)
    name = new_id()
    with connected(recipient) as client:
        client.send(name)
        until(lambda: recipient.open)
        assert list(recipient.open) == [(name, client.port)]
        assert client.read(len(OK)) == OK
    (delivery,) = recipient.deliveries
    assert delivery.answered is not None
    assert delivery.answered - delivery.arrived >= 0.5
    assert recipient.open == {}


def test_a_process_that_is_killed_held_what_came_from_its_ports_and_is_not_deleted(recipient: Recipient) -> None:
    settled, answered, pending, others = (new_id() for _ in range(4))
    with connected(recipient) as mine, connected(recipient) as other:
        mine.ask(settled)
        deleted = {settled: time.monotonic()}
        mine.ask(answered)
        other.ask(others)
        recipient.behave = Behaviour("silent")
        mine.send(pending)
        until(lambda: recipient.open)
        now = time.monotonic()
        held = Injury(now, now, "kill", frozenset({mine.port})).held(recipient.deliveries, deleted)
        assert held.message_ids == {answered, pending}


def test_a_client_that_is_gone_before_its_answer_got_none(recipient: Recipient) -> None:
    recipient.behave = Behaviour("delay", seconds=0.5)
    with connected(recipient) as client:
        client.send(new_id())
        until(lambda: recipient.open)
    until(lambda: not recipient.open)
    assert recipient.deliveries[0].answered is None
    assert recipient.accepted == {}
    assert recipient.connections == 0


@pytest.mark.parametrize("status", [201, 204, 302, 404, 429, 503])
def test_a_status_is_answered(recipient: Recipient, status: int) -> None:
    recipient.behave = Behaviour("status", status=status, retry_after=7)
    name = new_id()
    with connected(recipient) as client:
        client.send(name, b"body", "Connection: close")
        data, reset = client.read_to_end()
    assert data.startswith(f"HTTP/1.1 {status} Recorded\r\nRetry-After: 7\r\n".encode())
    assert not reset
    assert recipient.deliveries[0].status == status
    assert recipient.deliveries[0].answered is not None
    assert recipient.accepted == ({name: 1} if status < 300 else {})


def test_a_share_of_the_requests_is_hit_the_same_way_again_with_the_same_seed(recipient: Recipient) -> None:
    def statuses(seed: int) -> list[int]:
        start = len(recipient.deliveries)
        recipient.behave = (
            Behaviour("status", share=0.3, status=503, seed=seed),
            Behaviour("status", share=0.5, status=429, seed=seed + 1),
        )
        with connected(recipient) as client:
            for _ in range(200):
                client.ask(new_id())
        return [delivery.status for delivery in recipient.deliveries[start:]]

    first = statuses(1)
    assert 30 < first.count(503) < 90
    assert 40 < first.count(429) < 100
    assert first == statuses(1)
    assert first != statuses(2)


def test_only_messages_that_are_meant_are_hit(recipient: Recipient) -> None:
    names = [new_id() for _ in range(5)]
    recipient.behave = Behaviour("status", status=500, by_message=lambda name: name == names[2])
    for name in names:
        with connected(recipient) as client:
            client.ask(name)
    assert [delivery.status for delivery in recipient.deliveries] == [200, 200, 500, 200, 200]


def test_a_behaviour_that_does_not_exist_is_rejected() -> None:
    with pytest.raises(ValueError, match="no such behaviour: kind"):
        Behaviour("kind")


def test_a_request_that_names_no_message_is_no_delivery(recipient: Recipient) -> None:
    with connected(recipient) as client:
        client.stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.read(len(OK)) == OK
    assert len(recipient.deliveries) == 0
    assert recipient.strays == 1


def test_while_away_its_port_refuses_and_is_kept(recipient: Recipient) -> None:
    recipient.behave = Behaviour("silent")
    with connected(recipient) as client:
        client.send(new_id())
        until(lambda: recipient.open)
        recipient.go_away()
        assert client.read_to_end() == (b"", True)
    with pytest.raises(ConnectionRefusedError):
        Client(recipient.url)
    assert len(recipient.away) == 1
    recipient.behave = Behaviour()
    recipient.come_back()
    with connected(recipient) as client:
        assert client.ask(new_id()) == OK
    (window,) = recipient.away
    assert window.begin <= window.end <= time.monotonic()
    until(lambda: not recipient.open)


def test_an_answer_that_is_due_when_it_goes_away_is_never_given(recipient: Recipient) -> None:
    recipient.behave = Behaviour("delay", seconds=0.2)
    name = new_id()
    with connected(recipient) as client:
        client.send(name)
        until(lambda: recipient.open)

        def leave_late() -> None:
            # Both are due in the same turn of the loop, as on a busy machine.
            time.sleep(0.3)
            recipient.go_away()

        recipient._thread.do(leave_late)
        until(lambda: not recipient.open)
    assert recipient.deliveries[0].answered is None
    assert recipient.accepted == {}


def test_it_flaps_until_it_is_to_be_steady(recipient: Recipient) -> None:
    recipient.flap(0.05, 0.05)
    until(lambda: len(recipient.away) >= 3)
    recipient.steady()
    windows = recipient.away
    with connected(recipient) as client:
        assert client.ask(new_id()) == OK
        assert client.is_silent()
    assert recipient.away == windows


def test_an_answer_that_the_client_did_not_read_is_held(recipient: Recipient) -> None:
    name = new_id()
    with connected(recipient) as client:
        client.send(name)
        until(lambda: recipient.accepted[name])
        assert client.stream.recv(1, socket.MSG_PEEK)  # it came, and stays unread: closing resets
    until(lambda: recipient.held)
    assert recipient.held[0].message_ids == {name}


def test_an_answer_to_a_client_that_is_gone_is_held_or_was_never_given(recipient: Recipient) -> None:
    names = [new_id() for _ in range(50)]
    for name in names:
        with connected(recipient) as client:
            client.send(name)
    until(lambda: len(recipient.deliveries) == len(names))
    until(lambda: not recipient.connections)
    held = {name for each in recipient.held for name in each.message_ids}
    assert {each.message_id for each in recipient.deliveries if each.answered is not None} <= held


def test_an_answer_that_was_read_is_not_held(recipient: Recipient) -> None:
    with connected(recipient) as client:
        assert client.ask(new_id()) == OK
    until(lambda: not recipient.connections)
    assert recipient.held == []


def test_deliveries_are_read_while_others_come(recipient: Recipient) -> None:
    async def deliver(count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(recipient.url.split(":")[2].split("/")[0]))
        for _ in range(count):
            writer.write(head(new_id(), 4) + b"body")
            await reader.readexactly(len(OK))
            assert all(each.message_id for each in recipient.deliveries[-3:])
        writer.close()
        await writer.wait_closed()

    async def deliver_all() -> None:
        await asyncio.gather(*(deliver(50) for _ in range(16)))

    asyncio.run(deliver_all())
    assert len(recipient.deliveries) == 800
    assert len(recipient.accepted) == 800
    assert {each.digest for each in recipient.deliveries} == {digest(b"body")}
