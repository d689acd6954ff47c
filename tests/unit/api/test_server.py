"""The server of the API over real sockets: who is let in, what may be sent, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar, Final

import pytest
from structlog.testing import capture_logs

from courier.api import door, server
from courier.api.connection import Step
from courier.api.head import MAX_HEAD
from courier.api.listener import listen
from courier.api.page.document import document
from courier.api.server import Page, Where, open_api
from courier.log.recurring import report_recurring
from courier.process import scoreboard
from courier.process.child import run_role
from courier.process.life import Life
from courier.process.scoreboard import Scoreboard
from courier.server import connections
from tests.unit.api.boards import observed, running_board

Address = tuple[str, int]
Serving = Callable[[], AbstractAsyncContextManager[Address]]

PATIENCE: Final = 20.0
HEALTH: Final = b"GET /status/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
NAME: Final = "courier.default.svc"


@pytest.fixture
def board() -> Scoreboard:
    return running_board()


@pytest.fixture
def page() -> Page:
    return Page(document())


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch, board: Scoreboard, page: Page) -> Serving:
    """Serve the API of the board for the length of a block, then drain; fail where that doesn't end."""

    @asynccontextmanager
    async def serve() -> AsyncIterator[Address]:
        listener = listen(("127.0.0.1", 0))
        monkeypatch.setattr(server, "listen", lambda _: listener)
        loop = asyncio.get_running_loop()
        # The loop only logs what a shortage and a lost client do to it.
        loop.set_exception_handler(None)
        life = Life(board.slots("api")[0], board, loop)
        life.slot.words[scoreboard.STATE] = scoreboard.STARTING
        opened = await open_api(life, observed(board), {}, Where("127.0.0.1", 0, [NAME]), page)
        role = asyncio.ensure_future(run_role(opened, life))
        try:
            async with asyncio.timeout(PATIENCE):
                while life.slot.words[scoreboard.STATE] != scoreboard.READY:
                    await asyncio.sleep(0.01)
                yield listener.getsockname()
        finally:
            life.drain()
            await asyncio.wait_for(role, 5)
            Client.end_all()
            await asyncio.sleep(0.01)

    return serve


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for connections that take too long, and find them so, sooner than in earnest."""
    monkeypatch.setattr(server, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(Step.WAITING, "_value_", 0.3)
    monkeypatch.setattr(Step.ANSWERING, "_value_", 0.3)
    monkeypatch.setattr(Step.STREAMING, "_value_", 0.3)
    monkeypatch.setattr(connections, "ENDING_SECONDS", 0.1)


class Client:
    """A connection to the API."""

    all: ClassVar[list[Client]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.all.append(self)

    @classmethod
    def end_all(cls) -> None:
        """Leave no descriptor behind that is closed some time later, in the middle of another test."""
        while cls.all:
            cls.all.pop().writer.transport.abort()

    @classmethod
    async def connect(cls, address: Address) -> Client:
        return cls(*await asyncio.open_connection(*address))

    async def answer(self) -> tuple[int, bytes]:
        """Read one answer: its status and its body; (0, b"") where the connection ends instead."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, b""
        lines = [line.lower().split(b": ") for line in head.split(b"\r\n")[1:-2]]
        length = next(int(line[1]) for line in lines if line[0] == b"content-length")
        return int(head.split()[1]), await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        """Read until the connection ends, by whichever side."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        self.writer.write(request)
        return await self.answer()


async def ask(address: Address, request: bytes = HEALTH) -> tuple[int, bytes]:
    client = await Client.connect(address)
    try:
        return await client.ask(request)
    finally:
        client.writer.close()


def get(path: str, *headers: str, host: str = "127.0.0.1") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


async def test_a_connection_is_kept_for_more_than_one_request(serving: Serving) -> None:
    async with serving() as address:
        client = await Client.connect(address)
        for _ in range(3):
            assert await client.ask(HEALTH) == (200, b"{}")
        assert await client.ask(b"\r\n" + HEALTH) == (200, b"{}")


async def test_a_request_that_comes_byte_by_byte_is_answered(serving: Serving) -> None:
    async with serving() as address:
        client = await Client.connect(address)
        for byte in HEALTH:
            client.writer.write(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert await client.answer() == (200, b"{}")


@pytest.mark.parametrize("sent", [b"", b"GET /status/health HTTP/1.1\r\nHost: a", HEALTH, HEALTH + HEALTH[:9]])
async def test_an_unfinished_request_is_closed(serving: Serving, quick: None, sent: bytes) -> None:
    async with serving() as address:
        client = await Client.connect(address)
        client.writer.write(sent)
        rest = await client.rest()
        assert (b" 200 OK" in rest) == (HEALTH in sent)
        assert (b" 408 " in rest) == (sent.startswith(b"GET") and HEALTH not in sent)


async def test_a_request_that_dribbles_is_closed_though_it_goes_on(serving: Serving, quick: None) -> None:
    async with serving() as address:
        client = await Client.connect(address)
        client.writer.write(HEALTH[:-4])
        ended = asyncio.ensure_future(client.rest())
        while not ended.done():
            client.writer.write(b"\r\nX-More: yes")
            await asyncio.sleep(0.01)
        assert b" 408 " in await ended


async def test_an_answer_that_is_not_read_is_cut(serving: Serving, quick: None) -> None:
    async with serving() as address:
        with socket.create_connection(address, PATIENCE) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            with contextlib.suppress(ConnectionError):
                for _ in range(50):
                    await loop.sock_sendall(client, get("/metrics"))
                    await asyncio.sleep(0.02)
                while await loop.sock_recv(client, 65_536):  # what the kernel took, and then the end
                    pass


@pytest.mark.parametrize("chunk", [b"x" * 100, b"y" * 65_536], ids=["small", "large"])
@pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\nHost: a\r\nX: "], ids=["target", "header"])
async def test_an_endless_head_is_refused_and_the_client_reads_why(
    serving: Serving, begin: bytes, chunk: bytes
) -> None:
    async with serving() as address:
        client = await Client.connect(address)
        client.writer.write(begin)
        for _ in range(2 + MAX_HEAD // len(chunk)):
            client.writer.write(chunk)
        status, body = await client.answer()
        assert (status, b"16384" in body) == (431, True)
        assert await client.rest() == b""


@pytest.mark.parametrize(("size", "status"), [(MAX_HEAD, 200), (MAX_HEAD + 1, 431)])
async def test_a_head_may_have_16_kib(serving: Serving, size: int, status: int) -> None:
    async with serving() as address:
        request = get("/status/health", f"X: {'x' * (size - len(get('/status/health', 'X: ')))}")
        assert len(request) == size
        assert (await ask(address, request))[0] == status
        target = f"/status/health?{'x' * (size - len(get('/status/health?')))}"
        assert (await ask(address, get(target)))[0] == status


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: 127.0.0.1\n\n", 400),
        (get("/status", "Content-Length: 5") + b"hello", 413),
        (get("/status", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n", 413),
        (get("/status", host="evil.example"), 421),
        (get("/status", "X-Forwarded-Host: 127.0.0.1", host="evil.example:8080"), 421),
        (b"GET http://evil.example/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (b"BREW /status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
    ],
)
async def test_what_is_no_plain_request_is_refused_and_closed(serving: Serving, request_: bytes, status: int) -> None:
    async with serving() as address:
        client = await Client.connect(address)
        client.writer.write(request_)
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.count(b"\r\n\r\n") == 1
        assert await ask(address) == (200, b"{}")


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "a.localhost.:80", "10.1.2.3:8080", "[::1]", NAME])
async def test_the_api_answers_by_every_name_that_is_its_own(serving: Serving, host: str) -> None:
    async with serving() as address:
        assert await ask(address, get("/status/health", host=host)) == (200, b"{}")


async def test_a_load_balancer_of_http_1_0_may_leave_the_host_out(serving: Serving) -> None:
    async with serving() as address:
        client = await Client.connect(address)
        client.writer.write(b"GET /status/health HTTP/1.0\r\n\r\n")
        assert (await client.rest()).endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize(
    "path", ["/debug/stacks", "/debug%2fstacks", "/%64ebug/stacks", "//debug/stacks", "/debug/stacks?"]
)
async def test_no_spelling_of_the_path_gets_the_stacks_through_a_proxy(serving: Serving, path: str) -> None:
    async with serving() as address:
        for request in (get(path, "Via: 1.1 proxy"), get(path, host=NAME)):
            assert (await ask(address, request))[0] in (400, 403, 404)


async def test_a_request_after_an_upgrade_is_not_answered_on_the_same_connection(serving: Serving) -> None:
    async with serving() as address:
        client = await Client.connect(address)
        assert await client.ask(get("/status/health", "Connection: Upgrade", "Upgrade: h2c")) == (200, b"{}")
        assert await client.rest() == b""


async def test_pipelined_requests_get_one_answer_and_the_connection_is_closed(serving: Serving) -> None:
    async with serving() as address:
        client = await Client.connect(address)
        client.writer.write(HEALTH * 5)
        answers = await client.rest()
        assert answers.count(b"HTTP/1.1 200") == 1
        assert answers.count(b"connection: close") == 1


async def test_a_client_that_closes_its_half_first_gets_its_answer(serving: Serving) -> None:
    async with serving() as address:
        client = await Client.connect(address)
        client.writer.write(HEALTH)
        client.writer.write_eof()
        assert (await client.rest()).endswith(b"{}")


@pytest.mark.parametrize("sent", [b"", b"GET /status/health HTTP/1.1\r\nHost: a", HEALTH, b"GET /" + b"x" * MAX_HEAD])
async def test_the_oldest_connections_make_way_for_new_ones(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(door, "MOST_CONNECTIONS", 8)
    for step in Step:
        monkeypatch.setattr(step, "_value_", 3600.0)
    monkeypatch.setattr(connections, "ENDING_SECONDS", 3600.0)

    async def connect(address: Address) -> Client:
        client = await Client.connect(address)
        client.writer.write(sent)
        return client

    async with serving() as address:
        clients = [await connect(address) for _ in range(8)]
        for _ in range(8):
            assert await ask(address) == (200, b"{}")
            await clients.pop(0).rest()
            clients.append(await connect(address))


async def test_a_flood_of_connections_leaves_every_check_of_health_answered(serving: Serving) -> None:
    async with serving() as address:
        flooding = True

        async def flood() -> None:
            while flooding:
                client = await Client.connect(address)
                client.writer.write(HEALTH[:30])
                if len(Client.all) > 300:
                    Client.all.pop(0).writer.transport.abort()

        floods = [asyncio.ensure_future(flood()) for _ in range(50)]
        for _ in range(24):
            assert await ask(address) == (200, b"{}")
        flooding = False
        await asyncio.gather(*floods)


async def test_many_scrapes_at_once_are_answered_or_closed_and_the_next_check_is_answered(serving: Serving) -> None:
    async def scrape(address: Address) -> int:
        try:
            return (await ask(address, get("/metrics")))[0]
        except OSError:
            return 0

    async with serving() as address:
        scrapes = [asyncio.ensure_future(scrape(address)) for _ in range(300)]
        assert await ask(address) == (200, b"{}")
        statuses = await asyncio.gather(*scrapes)
        assert set(statuses) <= {200, 0}
        assert statuses.count(200) >= 30


async def test_a_client_that_resets_at_once_hurts_nobody(serving: Serving) -> None:
    async with serving() as address:
        for sent in (b"", HEALTH[:20], HEALTH, get("/metrics")):
            for _ in range(20):
                with socket.create_connection(address, PATIENCE) as client:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    client.sendall(sent)
            assert await ask(address) == (200, b"{}")


async def test_a_shortage_of_descriptors_passes(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as address:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        # The oldest connection, which the API closes to free a descriptor.
        client = await Client.connect(address)
        assert await client.ask(HEALTH) == (200, b"{}")
        with socket.socket() as waiting:
            waiting.setblocking(False)
            resource.setrlimit(resource.RLIMIT_NOFILE, (waiting.fileno() + 1, limits[1]))
            try:
                await asyncio.get_running_loop().sock_connect(waiting, address)
                begun = time.process_time()
                await asyncio.sleep(0.5)
                assert time.process_time() - begun < 0.3  # doesn't spin on what it can't accept
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            await asyncio.get_running_loop().sock_sendall(waiting, HEALTH)
            assert (await asyncio.get_running_loop().sock_recv(waiting, 100)).startswith(b"HTTP/1.1 200")


async def test_a_refused_name_is_logged_once_a_minute_with_the_option(serving: Serving) -> None:
    async with serving() as address:
        with capture_logs() as logs:
            for number in range(20):
                assert (await ask(address, get("/status", host=f"evil{number}.example")))[0] == 421
            told = [line for line in logs if "Host header" in line["event"]]
            assert len(told) == 1
            assert "--api-host evil0.example" in told[0]["reason"]
            report_recurring(rest=True)
        assert [line["times"] for line in logs if "Host header" in line["event"]] == [1, 19]


async def test_a_drain_closes_idle_connections_and_ends(serving: Serving, board: Scoreboard) -> None:
    left: list[asyncio.StreamReader] = []

    async with serving() as address:
        left.append((await Client.connect(address)).reader)
    assert left[0].at_eof() or left[0].exception() is not None
    assert board.slots("api")[0].words[scoreboard.STATE] == scoreboard.DRAINING
