"""One POST on a connection of its own, for a thread: it blocks until a deadline, and believes nothing but the status.

Neither the length of the answer nor the pace at which it comes can cost more than :data:`MOST_BYTES` and that deadline.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from typing import Final

from courier.http.url import Url

MOST_BYTES: Final = 1024
"""Bytes of an answer that are read. The status is in the first few."""

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([2-5][0-9]{2})(?:[ \r\n])")


def post(url: Url, head: bytes, body: bytes, tls: ssl.SSLContext | None, seconds: float) -> int | str:
    """Send a request, and return the status of its answer, or a reason why there is none.

    ``head`` ends in its empty line. ``seconds`` bound the whole, except for the lookup of the host's name. ``tls`` is
    needed for https.
    """
    deadline = time.monotonic() + seconds
    try:
        with socket.create_connection((url.host, url.port), seconds) as plain:
            plain.settimeout(_left(deadline))
            connection = tls.wrap_socket(plain, server_hostname=url.host) if tls is not None else plain
            with connection:
                connection.settimeout(_left(deadline))
                connection.sendall(head + body)
                return _status(connection, deadline)
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except (OSError, ValueError) as error:
        # An IDNA codec raises ValueError for a name that it can't encode.
        return getattr(error, "strerror", None) or type(error).__name__


def _status(connection: socket.socket, deadline: float) -> int | str:
    answer = b""
    while b"\n" not in answer and len(answer) < MOST_BYTES:
        connection.settimeout(_left(deadline))
        part = connection.recv(MOST_BYTES - len(answer))
        if not part:
            break
        answer += part
    found = _STATUS.match(answer)
    if found is None:
        return "the answer isn't HTTP" if answer else "connection closed without an answer"
    return int(found[1])


def _left(deadline: float) -> float:
    """Return the seconds until the deadline; raise TimeoutError after it."""
    left = deadline - time.monotonic()
    if left <= 0.0:
        raise TimeoutError
    return left
