"""Request heads: what never changes is rendered once, the rest is joined in for each request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from courier.http.target import Target

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_colon_join: Final = b": ".join
_line_join: Final = b"\r\n".join


def header_name(text: str) -> bytes | None:
    """Return the name as it goes on the wire, or None where it isn't a token (RFC 9110, section 5.1)."""
    return text.encode("ascii") if _TOKEN.fullmatch(text) else None


def header_value(text: str) -> bytes | None:
    """Return the value as it goes on the wire, or None where it can't be one (RFC 9110, section 5.5).

    It can't with any control character but a tab (CR and LF would start another header) or any character outside
    of ASCII (receivers don't agree on what such bytes mean). Blanks at the ends are cut off, as every receiver does.
    """
    if not text.isascii() or not (text.isprintable() or text.replace("\t", "").isprintable()):
        return None
    return text.strip(" \t").encode("ascii")


class HeadTemplate:
    """The head of a request to one target.

    ``fixed`` are the headers that every request carries, next to Host and Content-Length, which are made here.
    Raises ValueError where a name or a value can't go on the wire, or names one of those two. HEAD and CONNECT
    aren't for it: the session reads a body by the answer's framing alone.

    ``start`` is what never varies: all of it up to the digits of the length.
    """

    __slots__ = ("start",)

    def __init__(self, method: str, target: Target, fixed: Sequence[tuple[str, str]] = ()) -> None:
        if header_name(method) is None:
            raise ValueError(f"{method!r} isn't an HTTP method")
        lines = [f"{method} {target.path} HTTP/1.1".encode("ascii"), b"Host: " + target.host_header.encode("ascii")]
        for name, value in fixed:
            lines.append(_colon_join((_fixed_name(name), _fixed_value(name, value))))
        lines.append(b"Content-Length: ")
        self.start = _line_join(lines)

    def render(self, content_length: int, extra: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
        """Return a whole head, which ends in an empty line.

        ``extra`` are names and values that went through :func:`header_name` and :func:`header_value`, or are
        known to be safe: they aren't looked at again.
        """
        lines = [b"%b%d" % (self.start, content_length)]
        lines += map(_colon_join, extra)
        lines += (b"", b"")
        return _line_join(lines)


def _fixed_name(name: str) -> bytes:
    checked = header_name(name)
    if checked is None or checked.lower() in (b"host", b"content-length", b"transfer-encoding"):
        raise ValueError(f"{name!r} can't be a header here: it must be a token, and not one that describes the message")
    return checked


def _fixed_value(name: str, value: str) -> bytes:
    checked = header_value(value)
    if checked is None:
        raise ValueError(f"the value of header {name} must be printable ASCII on one line")
    return checked
