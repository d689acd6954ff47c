"""The way from a name to a connection: lookup, guard, and one address after another."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from courier.http.advice import name_failure
from courier.http.answer import (
    CONNECT_FAILED,
    CONNECT_REFUSED,
    CONNECT_TIMEOUT,
    DENIED,
    NO_DESCRIPTORS,
    NO_MEMORY,
    NO_PORTS,
    SHORTAGES,
    NoAnswer,
)
from courier.http.guard import AddressGuard

# Seconds: a burst of new connections asks once, and a changed name is noticed soon.
_CACHED_FOR: Final = 5.0

_SHORTAGES: Final = {
    errno.EMFILE: NO_DESCRIPTORS,
    errno.ENFILE: NO_DESCRIPTORS,
    errno.EADDRNOTAVAIL: NO_PORTS,
    errno.ENOBUFS: NO_MEMORY,
    errno.ENOMEM: NO_MEMORY,
}


class SocketAddress(NamedTuple):
    """One entry of what ``socket.getaddrinfo`` returns."""

    family: int
    type: int
    proto: int
    canonical_name: str
    sockaddr: tuple[Any, ...]


Lookup = Callable[[str, int], Awaitable[Iterable[tuple[Any, ...]]]]
"""A function from host and port to what ``socket.getaddrinfo`` returns; it raises what that raises."""


class Resolver:
    """The addresses of one host, looked up every few seconds at most, one lookup at a time.

    ``lookup`` stands in for the machine's resolver.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int, lookup: Lookup | None = None) -> None:
        self._loop = loop
        self._host = host
        self._port = port
        self._ask = lookup or self._ask_the_machine
        self._addresses: Sequence[SocketAddress] = ()
        self._fresh_until = 0.0
        self._lookup: asyncio.Task[Sequence[SocketAddress] | NoAnswer] | None = None

    async def addresses(self) -> Sequence[SocketAddress]:
        """Return the addresses, in the order in which to try them. Raises NoAnswer."""
        if time.monotonic() < self._fresh_until:
            return self._addresses
        if self._lookup is None:
            self._lookup = self._loop.create_task(self._look_up())
        # Shielded: the first caller may give up while others wait for the same lookup.
        result = await asyncio.shield(self._lookup)
        if isinstance(result, NoAnswer):
            raise NoAnswer(result.reason, str(result))
        return result

    def close(self) -> None:
        """Cancel a lookup under way."""
        if self._lookup is not None:
            self._lookup.cancel()

    async def _look_up(self) -> Sequence[SocketAddress] | NoAnswer:
        try:
            found = await self._ask(self._host, self._port)
        except (OSError, UnicodeError) as error:
            return NoAnswer(shortage_reason(error) or name_failure(error), f"{self._host}: {error_text(error)}")
        finally:
            self._lookup = None
        self._addresses = [SocketAddress(*info) for info in found]
        self._fresh_until = time.monotonic() + _CACHED_FOR
        return self._addresses

    async def _ask_the_machine(self, host: str, port: int) -> Iterable[tuple[Any, ...]]:
        # In a thread of the loop: the C library's resolver blocks, and only it follows the machine's configuration.
        return await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def dial(
    loop: asyncio.AbstractEventLoop,
    protocol: asyncio.Protocol,
    addresses: Sequence[SocketAddress],
    deadline: float,
    guard: AddressGuard | None = None,
    tls: tuple[ssl.SSLContext, str] | None = None,
) -> None:
    """Connect ``protocol`` to the first address that accepts; ``deadline`` is on the monotonic clock.

    Each address gets an even share of the time that is left; otherwise one that swallows packets would use all of it.
    Addresses that ``guard`` denies are skipped. With ``tls``, a context and the name in the certificate, the loop adds
    TLS, of which the protocol knows nothing. Raises NoAnswer.
    """
    context, name = tls or (None, None)
    permitted, details = split_by_guard(addresses, guard)
    reasons: list[str] = [DENIED if details else CONNECT_FAILED]
    for index, address in enumerate(permitted):
        host, port = address.sockaddr[:2]
        share = (deadline - time.monotonic()) / (len(permitted) - index)
        try:
            async with asyncio.timeout(share):
                # The address that the guard checked: no second lookup can put another in its place.
                await loop.create_connection(
                    lambda: protocol, host, port, ssl=context, server_hostname=name, flags=socket.AI_NUMERICHOST
                )
            return
        except OSError as error:
            reasons.append(connect_reason(error))
            details.append(f"{host} port {port}: {error_text(error)}")
    raise NoAnswer(decisive_reason(reasons), "; ".join(details) or "the name has no address")


def split_by_guard(
    addresses: Iterable[SocketAddress], guard: AddressGuard | None
) -> tuple[list[SocketAddress], list[str]]:
    """Return the addresses that the guard permits, and a line for each that it denies."""
    permitted, denials = [], []
    for address in addresses:
        rule = guard.denial(address.sockaddr[0]) if guard is not None else None
        if rule is None:
            permitted.append(address)
        else:
            denials.append(f"{address.sockaddr[0]} is denied: {rule}")
    return permitted, denials


def connect_reason(error: OSError) -> str:
    """Return the constant of :mod:`courier.http.answer` for a failure to connect."""
    if isinstance(error, TimeoutError):
        return CONNECT_TIMEOUT
    if isinstance(error, ConnectionRefusedError):
        return CONNECT_REFUSED
    return shortage_reason(error) or CONNECT_FAILED


def shortage_reason(error: Exception) -> str | None:
    """Return the one of :data:`courier.http.answer.SHORTAGES` that an error stands for, or ``None``."""
    number = error.errno if isinstance(error, OSError) else None
    # getaddrinfo has error numbers of its own.
    if isinstance(error, socket.gaierror):
        return NO_MEMORY if number == socket.EAI_MEMORY else None
    return _SHORTAGES.get(number) if number is not None else None


def decisive_reason(reasons: Sequence[str]) -> str:
    """Return the one reason for all addresses of a name; ``reasons`` are in the order of the attempts.

    It is the last one, but a shortage of this machine takes precedence: it hides whether an address works. A lack of
    ports doesn't, since EADDRNOTAVAIL is also the error for an IPv6 address on a machine without IPv6.
    """
    hidden = next((reason for reason in reasons if reason in SHORTAGES and reason != NO_PORTS), None)
    if hidden is not None:
        return hidden
    return next((reason for reason in reversed(reasons[1:]) if reason != NO_PORTS), reasons[-1])


def error_text(error: Exception) -> str:
    """Return the text of an error, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or "timed out"
