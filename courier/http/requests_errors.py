"""What the errors of requests and urllib3 mean, where something else than our connections fails."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import requests
import urllib3.exceptions

from courier.http import answer as reasons

# The first that is among an error and its causes decides.
_MEANINGS: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...]] = (
    ((requests.exceptions.ProxyError, urllib3.exceptions.ProxyError), reasons.CONNECT_FAILED),
    ((ssl.SSLError, requests.exceptions.SSLError, urllib3.exceptions.SSLError), reasons.TLS),
    ((socket.gaierror, urllib3.exceptions.NameResolutionError), reasons.RESOLVE),
    (ConnectionRefusedError, reasons.CONNECT_REFUSED),
    # To urllib3 it is a kind of time-out.
    (urllib3.exceptions.NewConnectionError, reasons.CONNECT_FAILED),
    ((requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError), reasons.CONNECT_TIMEOUT),
    ((requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError), reasons.TIMEOUT),
    ((http.client.RemoteDisconnected, http.client.IncompleteRead, ConnectionError), reasons.RESET),
    ((urllib3.exceptions.IncompleteRead, requests.exceptions.ChunkedEncodingError), reasons.RESET),
    ((requests.exceptions.ContentDecodingError, http.client.HTTPException), reasons.PROTOCOL),
)


def told(error: Exception) -> tuple[str, str]:
    """Return the reason and the detail of the failure that an error of requests or urllib3 stands for.

    The detail is what the innermost cause says: the others quote the URL, which may hold a key.
    """
    chain = list(_causes(error))
    reason = next((reason for kinds, reason in _MEANINGS if any(isinstance(e, kinds) for e in chain)), None)
    if reason is None:
        connected = not isinstance(error, requests.ConnectionError)
        reason = reasons.PROTOCOL if connected else reasons.CONNECT_FAILED
    innermost = chain[-1]
    said = innermost.strerror if isinstance(innermost, OSError) and innermost.strerror else None
    kind = type(innermost).__name__
    return reason, said or (kind if isinstance(innermost, requests.RequestException) else f"{kind}: {innermost}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        candidates = (getattr(following, "reason", None), *reversed(following.args), following.__cause__)
        causes = [candidate for candidate in candidates if isinstance(candidate, BaseException)]
        following = causes[0] if causes else None
