"""The server-sent events: one rendering for all streams, a limit of streams, and an end that waits for nobody."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from courier.api import door
from courier.api.events import MOST_STREAMS, Events
from tests.unit.api.test_server import (
    HEALTH,
    Client,
    Serving,
    ask,
    board,  # noqa: F401
    get,
    page,  # noqa: F401
    quick,  # noqa: F401
    serving,  # noqa: F401
)
from tests.waiting import until


class Reader:
    """A client of one stream; it takes an event only when asked to."""

    def __init__(self, events: Events) -> None:
        self.received: list[bytes] = []
        self.left = asyncio.Event()
        self._may_take = asyncio.Semaphore(0)
        self._events = events
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/events", "headers": []}
        response: Response = await self._events.answer(Request(scope))
        await response(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message.get("body"):
            await self._may_take.acquire()
            self.received.append(message["body"])

    async def take(self) -> bytes:
        """Take one event, when there is one."""
        before = len(self.received)
        self._may_take.release()
        await until(lambda: len(self.received) > before)
        return self.received[-1]


class Counted:
    """A status that counts how often it was rendered."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, int]:
        self.times += 1
        return {"n": self.times}


async def test_nothing_is_rendered_without_a_stream() -> None:
    status = Counted()
    events = Events(status)
    for _ in range(5):
        events.tick()
    assert status.times == 0


async def test_all_streams_share_one_rendering_a_second() -> None:
    status = Counted()
    events = Events(status)
    readers = [Reader(events) for _ in range(5)]
    assert {await reader.take() for reader in readers} == {b'event: status\ndata: {"n":1,"streams":0}\n\n'}
    events.tick()
    assert {await reader.take() for reader in readers} == {b'event: status\ndata: {"n":2,"streams":5}\n\n'}
    assert (status.times, len(events)) == (2, 5)
    events.end()
    for reader in readers:
        await reader.take()
        await reader.task


async def test_a_new_stream_begins_with_the_samples() -> None:
    events = Events(lambda: {"state": "ready"}, lambda: {"second": {}})
    reader = Reader(events)
    first = b'event: samples\ndata: {"second":{}}\n\nevent: status\ndata: {"state":"ready","streams":0}\n\n'
    assert await reader.take() == first
    reader.left.set()
    await reader.task


async def test_a_slow_reader_gets_the_newest_event_and_none_of_those_that_it_missed() -> None:
    status = Counted()
    events = Events(status)
    reader = Reader(events)
    await until(lambda: len(events))
    for _ in range(100):
        await asyncio.sleep(0)
        events.tick()
    assert b'{"n":1,' in await reader.take()
    assert b'{"n":101,' in await reader.take()
    reader.left.set()
    await reader.task


async def test_a_client_that_leaves_frees_its_stream() -> None:
    events = Events(dict)
    reader = Reader(events)
    await reader.take()
    reader.left.set()
    await reader.task
    assert len(events) == 0


async def test_the_end_tells_each_stream_that_courier_ends() -> None:
    events = Events(dict)
    reader = Reader(events)
    await reader.take()
    events.end()
    assert await reader.take() == b"event: end\ndata: {}\n\n"
    await asyncio.wait_for(reader.task, 5)
    late = Reader(events)
    assert (await late.take()).endswith(b"event: end\ndata: {}\n\n")
    await asyncio.wait_for(late.task, 5)
    assert len(events) == 0


class Stream:
    """A stream over a real socket."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Stream:
        client = await Client.connect(address)
        client.writer.write(get("/events"))
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert b"content-type: text/event-stream\r\n" in head
        return cls(client)

    async def status(self) -> Any:
        """Return the next status."""
        text = await self.client.reader.readuntil(b"}\n\n")
        while b"event: status\n" not in text:
            text = await self.client.reader.readuntil(b"}\n\n")
        return json.loads(text[text.index(b"data: ") + 6 :])


@contextlib.asynccontextmanager
async def streams(address: tuple[str, int], count: int) -> AsyncIterator[list[Stream]]:
    opened = [await Stream.open(address) for _ in range(count)]
    yield opened
    for stream in opened:
        stream.client.writer.close()


@pytest.mark.usefixtures("quick")
async def test_a_stream_lasts_beyond_the_time_of_an_answer(serving: Serving) -> None:  # noqa: F811
    async with serving() as address, streams(address, 1) as (stream,):
        # Each tick is 0.02 s, and an answer may take 0.3 s here.
        for _ in range(40):
            assert (await stream.status())["version"]


async def test_the_17th_stream_is_refused_until_one_has_gone(serving: Serving) -> None:  # noqa: F811
    async with serving() as address, streams(address, MOST_STREAMS) as opened:
        status, body = await ask(address, get("/events"))
        assert (status, b"read /status" in body) == (503, True)
        assert (await ask(address, get("/status")))[0] == 200
        opened[0].client.writer.close()

        async def is_refused() -> bool:
            client = await Client.connect(address)
            client.writer.write(b"HEAD /events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return b" 503 " in await client.rest()

        while await is_refused():
            await asyncio.sleep(0.01)
        async with streams(address, 1):
            pass


async def test_open_streams_lock_nobody_out_and_make_way_last(
    serving: Serving,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door, "MOST_CONNECTIONS", MOST_STREAMS + 4)
    async with serving() as address, streams(address, MOST_STREAMS) as opened:
        for _ in range(30):
            assert await (await Client.connect(address)).ask(HEALTH) == (200, b"{}")
        for stream in opened:
            assert (await stream.status())["version"]


@pytest.mark.usefixtures("quick")
async def test_a_stream_that_is_not_read_is_cut_while_others_go_on(serving: Serving) -> None:  # noqa: F811
    async with serving() as address, streams(address, 1) as (other,):
        with socket.create_connection(address) as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            stalled.sendall(get("/events"))
            while (await other.status())["streams"] != 2:
                pass
            while (await other.status())["streams"] != 1:
                pass
        assert await ask(address) == (200, b"{}")


async def test_a_drain_waits_for_no_stream(serving: Serving) -> None:  # noqa: F811
    ending: list[Stream] = []
    async with serving() as address:
        ending += [await Stream.open(address) for _ in range(3)]
        rests = [asyncio.ensure_future(stream.client.rest()) for stream in ending]
    for rest in rests:
        assert b"event: end\ndata: {}\n\n" in await rest
