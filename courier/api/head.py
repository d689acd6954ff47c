"""The checks of a request to the API: a pure function from the bytes of a head to a verdict.

A request is a head without a body or trailers; only an act of the live page has a body, where that is allowed. Forms
that two parsers may read differently (a bare line feed, a folded line, a space before the colon, two hosts) are refused
before uvicorn's parser sees them.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from courier.api.allowed_hosts import Hosts, host_of
from courier.server.refusal import RequestRefusal

MAX_HEAD: Final = 16 * 1024
"""Maximum bytes of a request: its first line, its headers and the empty line."""

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_HEADER: Final = re.compile(rb"(" + _TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)")
_LENGTH: Final = re.compile(rb"[0-9]{1,9}")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#@]*)([/?][\x21-\x7e]*)?", re.IGNORECASE)


MAX_BODY: Final = 4096
"""Maximum bytes of a body."""

CONTROL: Final = re.compile(rb"(?:/queues/[a-z0-9-]{1,40})?/control")
"""The targets to which a body may be sent."""

NO_BODY: Final = "the API accepts no request body"
TOO_LARGE: Final = RequestRefusal(431, f"a request may have at most {MAX_HEAD} bytes")
NO_HTTP: Final = RequestRefusal(400, "not an HTTP/1.1 request; the API speaks plain HTTP, without TLS")


class Head(NamedTuple):
    """An accepted request. If ``last`` is true, the connection closes after the answer. ``body`` is in bytes."""

    last: bool
    body: int = 0


def starts_malformed(received: bytes | bytearray) -> bool:
    """Return whether a partial head is malformed, whatever follows it."""
    bare = received.count(b"\n") != received.count(b"\r\n")
    return bare or b"\0" in received or (received != b"\r" and not received[:1].isalpha())


def judge(head: bytes, hosts: Hosts, *, takes_acts: bool = False) -> Head | RequestRefusal:
    """Return the verdict on a whole head, passed without the empty line at its end.

    ``takes_acts`` allows POST requests to :data:`CONTROL` with a body.
    """
    first, *lines = head.split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(first)
    if request is None:
        return NO_HTTP
    version = request[3] + b"." + request[4]
    if version not in (b"1.0", b"1.1"):
        return RequestRefusal(505, "the API speaks only HTTP/1.0 and HTTP/1.1")
    headers: dict[bytes, list[bytes]] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            return RequestRefusal(400, "a header is malformed")
        headers.setdefault(header[1].lower(), []).append(header[2].strip(b" \t"))
    is_act = takes_acts and request[1] == b"POST" and CONTROL.fullmatch(request[2]) is not None
    body = _body(headers, MAX_BODY if is_act else 0)
    if isinstance(body, RequestRefusal):
        return body
    refusal = _refuse_host(request[2], headers.get(b"host", []), version, hosts)
    return refusal or Head(last=b"upgrade" in headers, body=body)


def _body(headers: dict[bytes, list[bytes]], most: int) -> int | RequestRefusal:
    """Return the length of the body (RFC 9112, 6), or the refusal of one that is longer than ``most`` or chunked."""
    lengths = headers.get(b"content-length", [b"0"])
    if b"transfer-encoding" in headers or len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        return RequestRefusal(413, "a body needs one Content-Length" if most else NO_BODY)
    if int(lengths[0]) > most:
        return RequestRefusal(413, f"a body may have at most {most} bytes" if most else NO_BODY)
    return int(lengths[0])


def _refuse_host(target: bytes, given: list[bytes], version: bytes, hosts: Hosts) -> RequestRefusal | None:
    """Check the Host header (RFC 9112, 3.2); if the target contains a host, both must be the same."""
    if not given and version == b"1.0":
        # HTTP/1.0 has no Host header. Load balancers send such requests; browsers never do.
        return None if target.startswith(b"/") else RequestRefusal(400, "the request target must be a path")
    if len(given) != 1 or (host := host_of(given[0].decode("latin-1"))) is None:
        return RequestRefusal(400, "a request needs exactly one Host header, with a valid host")
    if not target.startswith(b"/"):
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None or host_of(absolute[1].decode("latin-1")) != host:
            return RequestRefusal(400, "the request target must be a path, or a URL of the host in the Host header")
    if not hosts.admits(host):
        return unknown_host(host)
    return None


def unknown_host(host: str) -> RequestRefusal:
    """Return the refusal of an unknown host name, which names the option to set."""
    return RequestRefusal(
        421, f"{host} is not a name of this API; use its IP address, or start Courier with --api-host {host}"
    )
