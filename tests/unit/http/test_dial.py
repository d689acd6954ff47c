from __future__ import annotations

import asyncio
import socket
import time
from typing import Any, cast

import pytest
import uvloop

from courier.http.answer import (
    CONNECT_FAILED,
    CONNECT_REFUSED,
    CONNECT_TIMEOUT,
    NO_RESOLVER,
    RESOLVE,
    RESOLVER_FAILED,
    NoAnswer,
)
from courier.http.dial import Resolver, SocketAddress, dial
from tests.integration.misbehaving_server import deaf_port


class Names:
    """A loop's resolver that answers from a list and counts the questions."""

    def __init__(self, *answers: list[Any] | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.loop = asyncio.get_running_loop()

    def create_task(self, coroutine: Any) -> Any:
        return self.loop.create_task(coroutine)

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def at(port: int, host: str = "127.0.0.1") -> SocketAddress:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return SocketAddress(family, socket.SOCK_STREAM, 6, "", (host, port))


def resolver(names: Names) -> Resolver:
    return Resolver(cast("asyncio.AbstractEventLoop", names), "example.com", 80)


def dialled(addresses: list[SocketAddress], seconds: float = 5.0) -> int:
    """Return the port that was reached."""

    class Peer(asyncio.Protocol):
        port = 0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.port = transport.get_extra_info("peername")[1]
            cast("asyncio.Transport", transport).abort()

    async def run() -> int:
        peer = Peer()
        await dial(asyncio.get_running_loop(), peer, addresses, time.monotonic() + seconds)
        return peer.port

    return uvloop.run(run())


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_many_that_ask_at_once_share_one_lookup_and_its_answer_is_kept_for_a_while() -> None:
    names = Names([at(80)])
    subject = resolver(names)
    for _ in range(2):
        assert await asyncio.gather(*[subject.addresses() for _ in range(5)]) == [[at(80)]] * 5
    assert names.asked == 1


async def test_a_lookup_that_failed_is_asked_again() -> None:
    names = Names(socket.gaierror(-2, "Name or service not known"), [at(80)])
    subject = resolver(names)
    with pytest.raises(NoAnswer, match=r"example\.com: Name or service not known") as caught:
        await subject.addresses()
    assert caught.value.reason == RESOLVE
    assert await subject.addresses() == [at(80)]


async def test_name_servers_that_fail_are_told_from_a_name_that_is_not_there() -> None:
    subject = resolver(Names(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")))
    with pytest.raises(NoAnswer, match=r"example\.com: Temporary failure") as caught:
        await subject.addresses()
    assert caught.value.reason in (RESOLVER_FAILED, NO_RESOLVER)


async def test_one_that_gives_up_does_not_take_the_lookup_from_the_others() -> None:
    subject = resolver(Names([at(80)]))
    first, second = (asyncio.ensure_future(subject.addresses()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == [at(80)]


def test_the_first_address_that_accepts_is_taken(closed_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert dialled([at(closed_port), at(port), at(closed_port)]) == port


def test_every_address_that_failed_is_named(closed_port: int) -> None:
    with pytest.raises(NoAnswer) as caught:
        dialled([at(closed_port), at(closed_port, "127.0.0.2")])
    assert caught.value.reason == CONNECT_REFUSED
    assert str(caught.value) == (
        f"127.0.0.1 port {closed_port}: Connection refused; 127.0.0.2 port {closed_port}: Connection refused"
    )


def test_a_name_without_an_address_fails() -> None:
    with pytest.raises(NoAnswer, match="no address") as caught:
        dialled([])
    assert caught.value.reason == CONNECT_FAILED


def test_an_address_that_swallows_packets_leaves_time_for_the_next() -> None:
    with deaf_port() as deaf, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert dialled([at(deaf), at(port)], 0.4) == port


def test_only_such_addresses_are_a_timeout() -> None:
    with deaf_port() as deaf, pytest.raises(NoAnswer, match="timed out") as caught:
        dialled([at(deaf)], 0.1)
    assert caught.value.reason == CONNECT_TIMEOUT
