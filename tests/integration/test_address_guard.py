"""The address guard in a session: what was checked is what is connected to, at each connection anew."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

from courier.http import answer as reasons
from courier.http.advice import BY_NAME_FAILURE
from courier.http.answer import Answer
from courier.http.guard import AddressGuard, parse_network
from tests.integration.http_transports import GUARDED, PATIENCE, OpenGuarded, talking_over, transport
from tests.integration.misbehaving_server import OK, MisbehavingServer, Peer, answer, on_one_port

pytestmark = pytest.mark.parametrize("open_guarded", GUARDED)


def found(*addresses: str, port: int) -> list[tuple[Any, ...]]:
    """Return what a resolver finds."""
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
        if ":" in address
        else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
        for address in addresses
    ]


def guard(*allowed: str) -> AddressGuard:
    return AddressGuard(map(parse_network, allowed))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "localhost",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:0:0:1]",
    ],
)
async def test_this_machine_is_denied_in_every_spelling(open_guarded: OpenGuarded, host: str) -> None:
    async with talking_over(open_guarded(guard()), answer(OK), replacing=("127.0.0.1", host)) as (client, server):
        failure = await client.failure()
        # A spelling that the machine's resolver doesn't know is as good as denied.
        assert failure.reason in BY_NAME_FAILURE or failure.reason == reasons.DENIED
        assert failure.reason in BY_NAME_FAILURE or " is denied: " in failure.detail
    assert server.connections == 0


@pytest.mark.parametrize(
    ("host", "rule"),
    [
        ("169.254.169.254", "169.254.169.254 is denied: link-local (169.254.0.0/16)"),
        ("0xa9fea9fe", "169.254.169.254 is denied: link-local (169.254.0.0/16)"),
        ("10.1", "10.0.0.1 is denied: private (10.0.0.0/8)"),
        ("[fe80::1%251]", "link-local (fe80::/10)"),
        ("[64:ff9b::a9fe:a9fe]", "NAT64 of 169.254.169.254, link-local (169.254.0.0/16)"),
        ("[fd00:ec2::254]", "fd00:ec2::254 is denied: unique local (fc00::/7)"),
    ],
)
async def test_a_denial_names_the_address_and_the_rule(open_guarded: OpenGuarded, host: str, rule: str) -> None:
    async with transport(open_guarded(guard()), f"http://{host}/") as client:
        failure = await client.failure()
        assert failure.reason == reasons.DENIED
        assert rule in failure.detail


async def test_what_is_allowed_is_connected_to(open_guarded: OpenGuarded) -> None:
    async with talking_over(open_guarded(guard("127.0.0.1/32")), answer(OK)) as (client, _):
        assert (await client.answer()).status == 200


async def test_a_name_is_resolved_once_and_what_was_checked_is_connected_to(open_guarded: OpenGuarded) -> None:
    """A resolver that answers a permitted address first, and a denied one to everybody who asks again."""
    asked = []

    def rebinding(host: str, port: int) -> list[tuple[Any, ...]]:
        asked.append(host)
        return found("127.0.0.2" if len(asked) == 1 else "127.0.0.1", port=port)

    with MisbehavingServer(answer(OK), host="127.0.0.2") as server:
        url = server.url.replace("127.0.0.2", "rebinding.example")
        async with transport(open_guarded(guard("127.0.0.2"), rebinding), url) as client:
            assert (await client.answer()).status == 200
    assert asked == ["rebinding.example"]


async def test_a_name_that_rebinds_between_two_connections_is_denied_at_the_second(open_guarded: OpenGuarded) -> None:
    asked = []

    def rebinding(host: str, port: int) -> list[tuple[Any, ...]]:
        asked.append(host)
        return found("127.0.0.2" if len(asked) == 1 else "127.0.0.1", port=port)

    def closing(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    first, inner = on_one_port(closing, "127.0.0.2", "127.0.0.1")
    with first, inner:
        url = first.url.replace("127.0.0.2", "rebinding.example")
        async with transport(open_guarded(guard("127.0.0.2"), rebinding), url) as client:
            assert (await client.answer()).status == 200
            deadline = time.monotonic() + PATIENCE
            while isinstance(failure := await client.post(), Answer):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)  # a session may go by what it was told for a few seconds
            assert failure.reason == reasons.DENIED
            assert "127.0.0.1 is denied: loopback (127.0.0.0/8)" in failure.detail
        assert inner.connections == 0


@pytest.mark.parametrize("order", [("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1")])
async def test_of_several_addresses_only_the_permitted_ones_are_tried(
    open_guarded: OpenGuarded, order: tuple[str, str]
) -> None:
    opener = open_guarded(guard("127.0.0.2"), lambda _, port: found(*order, port=port))
    async with talking_over(opener, answer(OK), replacing=("127.0.0.1", "both.example")) as (client, server):
        failure = await client.failure()
        assert failure.reason == reasons.CONNECT_REFUSED
        assert "127.0.0.1 is denied: loopback (127.0.0.0/8)" in failure.detail
        assert "127.0.0.2 port" in failure.detail
    assert server.connections == 0
