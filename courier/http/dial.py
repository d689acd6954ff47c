"""From a name to a connection."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from courier.http.answer import CONNECT_FAILED, CONNECT_REFUSED, CONNECT_TIMEOUT, DENIED, RESOLVE
from courier.http.guard import AddressGuard

# Long enough that a burst of new connections asks once, short enough that a changed name is noticed.
_CACHED_FOR: Final = 5.0


class CannotConnect(Exception):
    """No connection; ``reason`` is one of the constants of :mod:`courier.http.answer`, the text is the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Address(NamedTuple):
    """What ``socket.getaddrinfo`` says about one address."""

    family: int
    type: int
    proto: int
    canonical_name: str
    sockaddr: tuple[Any, ...]


Lookup = Callable[[str, int], Awaitable[Iterable[tuple[Any, ...]]]]
"""From host and port to what ``socket.getaddrinfo`` returns; it raises what that raises."""


class Resolver:
    """The addresses of one host, asked for again every few seconds at most and by one lookup at a time.

    ``lookup`` asks for them, by default the machine's resolver.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int, lookup: Lookup | None = None) -> None:
        self._loop = loop
        self._host = host
        self._port = port
        self._ask = lookup or self._ask_the_machine
        self._addresses: Sequence[Address] = ()
        self._fresh_until = 0.0
        self._lookup: asyncio.Task[Sequence[Address] | CannotConnect] | None = None

    async def addresses(self) -> Sequence[Address]:
        """Return the addresses, in the order in which to try them. Raises CannotConnect."""
        if time.monotonic() < self._fresh_until:
            return self._addresses
        if self._lookup is None:
            self._lookup = self._loop.create_task(self._look_up())
        # Shielded: the one that asked first may give up while others wait for the same answer.
        result = await asyncio.shield(self._lookup)
        if isinstance(result, CannotConnect):
            raise CannotConnect(result.reason, str(result))
        return result

    def close(self) -> None:
        """Forget a lookup under way."""
        if self._lookup is not None:
            self._lookup.cancel()

    async def _look_up(self) -> Sequence[Address] | CannotConnect:
        try:
            found = await self._ask(self._host, self._port)
        except (OSError, UnicodeError) as error:
            return CannotConnect(RESOLVE, f"{self._host}: {said(error)}")
        finally:
            self._lookup = None
        self._addresses = [Address(*info) for info in found]
        self._fresh_until = time.monotonic() + _CACHED_FOR
        return self._addresses

    async def _ask_the_machine(self, host: str, port: int) -> Iterable[tuple[Any, ...]]:
        # In a thread of the loop: the resolver of the C library blocks, and it alone knows the machine's ways.
        return await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def dial(
    loop: asyncio.AbstractEventLoop,
    protocol: asyncio.Protocol,
    addresses: Sequence[Address],
    deadline: float,
    guard: AddressGuard | None = None,
) -> None:
    """Connect ``protocol`` to the first address that accepts; ``deadline`` is on the monotonic clock.

    Each gets an even share of what is left of the time, or one that swallows packets would use up all of it. Those
    that ``guard`` denies get none. Raises CannotConnect.
    """
    permitted, details = sift(addresses, guard)
    reason = DENIED if details else CONNECT_FAILED
    for index, address in enumerate(permitted):
        host, port = address.sockaddr[:2]
        share = (deadline - time.monotonic()) / (len(permitted) - index)
        try:
            async with asyncio.timeout(share):
                # An address and no name: nobody is asked a second time, and answers something else.
                await loop.create_connection(lambda: protocol, host, port, flags=socket.AI_NUMERICHOST)
            return
        except OSError as error:
            reason = connect_reason(error)
            details.append(f"{host} port {port}: {said(error)}")
    raise CannotConnect(reason, "; ".join(details) or "the name has no address")


def sift(addresses: Iterable[Address], guard: AddressGuard | None) -> tuple[list[Address], list[str]]:
    """Return the addresses that may be connected to, and a line for each of the others."""
    permitted, denials = [], []
    for address in addresses:
        rule = guard.denial(address.sockaddr[0]) if guard is not None else None
        if rule is None:
            permitted.append(address)
        else:
            denials.append(f"{address.sockaddr[0]} is denied: {rule}")
    return permitted, denials


def connect_reason(error: OSError) -> str:
    """Return the constant of :mod:`courier.http.answer` for what stood in the way of a connection."""
    if isinstance(error, TimeoutError):
        return CONNECT_TIMEOUT
    return CONNECT_REFUSED if isinstance(error, ConnectionRefusedError) else CONNECT_FAILED


def said(error: Exception) -> str:
    """Return what an error says, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or "timed out"
