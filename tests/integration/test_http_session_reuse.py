"""Which connection carries a request, and which must never carry another."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from courier.http import answer as reasons
from courier.http.answer import Answer
from courier.http.session import SessionLimits
from tests.integration.http_transports import Client, Talking
from tests.integration.misbehaving_server import OK, PATIENCE, Peer, Script, answer, silent, talkative
from tests.waiting import until

OTHER = b"HTTP/1.1 500 Other\r\nContent-Length: 5\r\n\r\nother"


async def test_requests_one_after_another_share_a_connection(talking: Talking) -> None:
    async with talking(answer(*[OK] * 20)) as (client, server):
        for _ in range(20):
            assert (await client.answer()).body == b"ok"
    assert server.connections == 1


async def test_requests_at_the_same_time_have_a_connection_each_and_the_last_used_one_is_used_next(
    talking: Talking,
) -> None:
    gates = [threading.Event(), threading.Event()]

    def script(number: int) -> Script:
        def serve(peer: Peer) -> None:
            peer.read_request()
            assert gates[number].wait(PATIENCE)
            peer.send(OK)
            while True:
                peer.read_request()
                peer.send(b"HTTP/1.1 20%d OK\r\nContent-Length: 0\r\n\r\n" % (number + 1))

        return serve

    async with talking(script(0), script(1)) as (client, server):
        client.send()
        await until(lambda: server.connections == 1)
        client.send()
        await until(lambda: server.connections == 2)
        gates[1].set()
        await until(lambda: len(client.results) == 1)
        gates[0].set()  # the first connection becomes idle last
        await until(lambda: len(client.results) == 2)
        for _ in range(5):
            assert (await client.answer()).status == 201
    assert server.connections == 2


async def test_a_late_answer_is_not_credited_to_the_next_request(talking: Talking) -> None:
    given_up = threading.Event()

    def late(peer: Peer) -> None:
        peer.read_request()
        assert given_up.wait(PATIENCE)
        peer.send(OK)

    async with talking(late, answer(OTHER, OTHER, OTHER)) as (client, server):
        assert (await client.failure(timeout=1.0)).reason == reasons.TIMEOUT
        given_up.set()
        for _ in range(3):
            assert (await client.answer()).status == 500
    assert server.connections == 2


async def test_a_byte_while_idle_ends_the_connection(talking: Talking) -> None:
    answered, closed = threading.Event(), threading.Event()

    async with talking(talkative(answered, closed), answer(OTHER)) as (client, _):
        assert (await client.answer()).status == 200
        answered.set()
        await until(closed.is_set)
        assert (await client.answer()).status == 500


@pytest.mark.parametrize("asked", [1, 3])
async def test_an_answer_that_nobody_asked_for_is_not_taken_while_the_loop_was_held_up(
    talking: Talking, asked: int
) -> None:
    answered, sent = threading.Event(), threading.Event()

    def unasked(peer: Peer) -> None:
        for _ in range(asked):
            peer.read_request()
            peer.send(OK)
        assert answered.wait(PATIENCE)
        peer.send(OK)
        sent.set()
        peer.wait_for_close()

    async with talking(unasked, answer(OTHER)) as (client, server):
        for _ in range(asked):
            assert (await client.answer()).status == 200
            time.sleep(0.01)  # holds the loop for so long that the connection is looked at before its next use
        assert server.connections == 1
        answered.set()
        assert sent.wait(PATIENCE)  # holds the loop: the bytes wait in the kernel, unread
        time.sleep(0.01)
        assert (await client.answer()).status == 500


each_framing = pytest.mark.parametrize(
    "raw",
    [
        OK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nk\r\n0\r\n\r\n",
    ],
    ids=["length", "204", "chunked"],
)


@pytest.mark.parametrize(
    "extra", [OK, b"x", b"HTTP/1.1 200 OK\r\n", b"\x00" * 100_000], ids=["200", "x", "half", "zeros"]
)
@each_framing
async def test_bytes_that_follow_an_answer_end_the_connection_and_the_answer_stands(
    talking: Talking, raw: bytes, extra: bytes
) -> None:
    async with talking(answer(raw + extra), answer(OTHER)) as (client, server):
        got = await client.answer()
        assert (got.status, got.truncated) == (int(raw[9:12]), False)
        assert (await client.answer()).status == 500
    assert server.connections == 2


@each_framing
async def test_the_same_answer_again_and_again_is_each_requests_own(talking: Talking, raw: bytes) -> None:
    def script(peer: Peer) -> None:
        for _ in range(5):
            peer.read_request()
            peer.send(raw)
        peer.read_request()
        peer.trickle(raw)  # in pieces
        peer.read_request()
        peer.send(raw)
        peer.read_request()
        peer.send(raw + raw)  # and one that nobody asked for
        peer.wait_for_close()

    async with talking(script, answer(OTHER)) as (client, server):
        first = await client.answer()
        for _ in range(7):
            asked_at = time.clock_gettime(time.CLOCK_BOOTTIME)
            got = await client.answer()
            assert got[:5] == first[:5]
            assert asked_at <= got.first_byte_at <= time.clock_gettime(time.CLOCK_BOOTTIME)
        assert server.connections == 1
        assert (await client.answer()).status == 500
    assert server.connections == 2


async def test_the_same_answer_with_a_wish_to_close_is_told_on_as_many_connections(talking: Talking) -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"

    async with talking(answer(closing)) as (client, server):
        for _ in range(4):
            assert (await client.answer()).body == b"ok"
    assert server.connections == 4


async def test_the_bytes_of_the_last_answer_are_a_body_where_one_is_expected(talking: Talking) -> None:
    def script(peer: Peer) -> None:
        for _ in range(2):
            peer.read_request()
            peer.send(OK)
        peer.read_request()
        peer.send(b"HTTP/1.1 500 Other\r\nContent-Length: %d\r\n\r\n" % len(OK))
        time.sleep(0.02)  # not a wait for anything: so that the body comes by itself
        peer.send(OK)
        peer.wait_for_close()

    async with talking(script) as (client, _):
        for _ in range(2):
            assert (await client.answer()).body == b"ok"
        got = await client.answer()
        assert (got.status, got.body) == (500, OK)


async def test_the_same_answer_before_the_whole_request_was_written_is_not_the_same(talking: Talking) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        peer.read_head()
        peer.send(OK)
        peer.wait_for_close()

    async with talking(script, answer(OTHER)) as (client, _):
        assert (await client.answer()).request_written
        # More than the socket buffers of both sides hold together.
        assert not (await client.answer(bytes(64 << 20))).request_written
        assert (await client.answer()).status == 500


async def test_a_connection_that_was_closed_while_idle_is_not_used_again(talking: Talking) -> None:
    answered, closed = threading.Event(), threading.Event()
    requests = []

    def closing(peer: Peer) -> None:
        requests.append(peer.read_request())
        peer.send(OK)
        assert answered.wait(PATIENCE)
        peer.close()
        closed.set()

    async with talking(closing, answer(OTHER)) as (client, _):
        assert (await client.answer()).status == 200
        answered.set()
        assert closed.wait(PATIENCE)  # holds the loop: the end waits in the kernel, unread
        time.sleep(0.01)
        assert (await client.answer()).status == 500
    assert len(requests) == 1


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_request_that_met_a_closing_connection_is_sent_again_on_a_fresh_one(talking: Talking, how: str) -> None:
    def closing(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        assert peer.read_request().body == b"second"
        getattr(peer, how)()

    async with talking(closing, answer(OTHER)) as (client, server):
        assert (await client.answer(b"first")).status == 200
        assert (await client.answer(b"second")).status == 500
    assert server.connections == 2


async def test_a_request_is_sent_again_only_once(talking: Talking) -> None:
    async with talking(answer(OK, b"", then="close"), answer(b"", then="close")) as (client, server):
        assert (await client.answer()).status == 200
        assert (await client.failure()).reason == reasons.RESET
    assert server.connections == 2


@pytest.mark.parametrize("part", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", OK[:-1]])
async def test_a_request_is_not_sent_again_once_a_byte_of_an_answer_has_come(talking: Talking, part: bytes) -> None:
    async with talking(answer(OK, part, then="close")) as (client, server):
        assert (await client.answer()).status == 200
        assert (await client.failure()).reason == reasons.RESET
    assert server.connections == 1


@pytest.mark.parametrize("reason", [reasons.TIMEOUT, reasons.FIRST_BYTE_TIMEOUT])
async def test_a_request_that_timed_out_is_not_sent_again(talking: Talking, reason: str) -> None:
    async with talking(answer(OK, b""), limits=SessionLimits(first_byte_timeout=0.5)) as (client, server):
        assert (await client.answer()).status == 200
        timeout = 0.1 if reason == reasons.TIMEOUT else None
        assert (await client.failure(timeout=timeout)).reason == reason
    assert server.connections == 1


async def test_a_second_attempt_can_time_out_too(talking: Talking) -> None:
    async with talking(answer(OK, b"", then="close"), silent) as (client, server):
        assert (await client.answer()).status == 200
        assert (await client.failure(timeout=1.5)).reason == reasons.TIMEOUT
    assert server.connections == 2


async def test_an_idle_connection_is_closed_after_a_while(talking: Talking) -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        peer.wait_for_close()
        closed.set()

    async with talking(script, limits=SessionLimits(idle_timeout=0.1)) as (client, _):
        assert (await client.answer()).status == 200
        await until(closed.is_set)


async def test_a_connection_past_its_age_is_not_used_again_however_busy(talking: Talking) -> None:
    async with talking(answer(*[OK] * 1_000_000), limits=SessionLimits(max_age=0.1)) as (client, server):
        deadline = time.monotonic() + PATIENCE
        while server.connections < 3:
            assert (await client.answer()).status == 200
            assert time.monotonic() < deadline


async def test_requests_of_many_callers_never_get_each_others_answers(talking: Talking) -> None:
    def echo(peer: Peer) -> None:
        while True:
            body = peer.read_request().body
            peer.trickle(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), 41)
            if sum(body) % 7 == 0:
                return

    async def caller(client: Client, name: int) -> None:
        for number in range(20):
            body = b"%d/%d" % (name, number) * 5
            result = await client.post(body)
            # A fresh connection that closes at the wrong moment is a failure; what must not be is another's answer.
            assert not isinstance(result, Answer) or result.body == body

    async with talking(echo) as (client, _):
        await asyncio.gather(*[caller(client, name) for name in range(8)])
