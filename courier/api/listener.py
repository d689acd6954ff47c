"""The listening socket of the API. The preflight tries it too, and needs nothing else of the API."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from courier.errors import CannotStart

BACKLOG: Final = 128


def listen(address: tuple[str, int]) -> socket.socket:
    """Return a socket that listens on host and port (0 for any free port); raise CannotStart, naming ``--api``."""
    host, port = address
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "not a valid host name"
        raise CannotStart(f"--api: cannot resolve {host}: {reason}; give an address of this machine") from None
    family, kind, protocol, _, resolved = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # The port must be usable while connections of a replaced worker are still timing out.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(resolved)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotStart(
            f"--api: cannot listen on {where}: {error.strerror}; give another host:port, or --api none"
        ) from None
    listener.setblocking(False)
    return listener


def is_numeric(host: str) -> bool:
    """Return whether a host is an IP address, which needs no name server."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False
