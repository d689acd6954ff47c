"""The server of the API over a real socket: connections that nobody uses, and the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from courier.api import server
from courier.api.server import serve_api
from courier.process import scoreboard
from courier.process.child import Life
from courier.process.scoreboard import Scoreboard
from tests.unit.api.boards import observed, running_board

Scenario = Callable[[tuple[str, int]], Awaitable[None]]


def served(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> Scoreboard:
    """Serve the API of a board while the scenario runs, then drain; fail where it doesn't end."""
    board = running_board()
    listener = server.listen(("127.0.0.1", 0))
    monkeypatch.setattr(server, "listen", lambda _: listener)

    async def run() -> None:
        life = Life(board.slots("api")[0], board, asyncio.get_running_loop())
        life.slot.words[scoreboard.STATE] = scoreboard.STARTING
        serving = asyncio.ensure_future(serve_api(life, observed(board), {}, ("127.0.0.1", 0)))
        try:
            async with asyncio.timeout(20):
                while life.slot.words[scoreboard.STATE] != scoreboard.READY:
                    await asyncio.sleep(0.01)
                await scenario(listener.getsockname())
        finally:
            life.drain()
            await asyncio.wait_for(serving, 5)

    asyncio.run(run())
    return board


async def ask(address: tuple[str, int], request: bytes) -> tuple[bytes, asyncio.StreamWriter, asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    return head, writer, reader


def test_a_connection_that_sends_nothing_or_half_a_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(server, "LONGEST_CONNECTION", 0.1)

    async def scenario(address: tuple[str, int]) -> None:
        for sent in (b"", b"GET /status/health HTTP/1.1\r\nHost: a"):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(sent)
            assert await reader.read() == b""
            writer.close()

    served(scenario, monkeypatch)


def test_a_connection_is_kept_for_more_than_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(address: tuple[str, int]) -> None:
        request = b"GET /status/health HTTP/1.1\r\nHost: a\r\n\r\n"
        head, writer, reader = await ask(address, request)
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(2) == b"{}"
        writer.write(request)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()

    served(scenario, monkeypatch)


def test_what_is_not_http_is_refused_and_the_next_one_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(address: tuple[str, int]) -> None:
        head, writer, _ = await ask(address, b"\x16\x03\x01\x02\x00\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400")
        writer.close()
        head, writer, _ = await ask(address, b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        writer.close()

    served(scenario, monkeypatch)


def test_too_many_connections_are_told_so_and_there_is_room_again_when_they_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 5)

    async def scenario(address: tuple[str, int]) -> None:
        request = b"GET /status/health HTTP/1.1\r\nHost: a\r\n\r\n"
        idle = [await asyncio.open_connection(*address) for _ in range(6)]
        head, writer, _ = await ask(address, request)
        assert head.startswith(b"HTTP/1.1 503")
        writer.close()
        for _, other in idle:
            other.close()
        deadline = time.monotonic() + 5
        while not head.startswith(b"HTTP/1.1 200"):
            assert time.monotonic() < deadline
            head, writer, _ = await ask(address, request)
            writer.close()

    served(scenario, monkeypatch)


def test_a_drain_closes_idle_connections_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[asyncio.StreamReader] = []

    async def scenario(address: tuple[str, int]) -> None:
        reader, _ = await asyncio.open_connection(*address)
        left.append(reader)

    board = served(scenario, monkeypatch)
    assert left[0].at_eof() or left[0].exception() is not None
    assert board.slots("api")[0].words[scoreboard.STATE] == scoreboard.DRAINING
