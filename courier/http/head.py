"""Request heads: the constant part is rendered once, and each request adds the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from courier.http.url import Url

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_colon_join: Final = b": ".join
_line_join: Final = b"\r\n".join


def header_name(text: str) -> bytes | None:
    """Return the name as it goes on the wire, or None if it isn't a token (RFC 9110, section 5.1)."""
    return text.encode("ascii") if _TOKEN.fullmatch(text) else None


def header_value(text: str) -> bytes | None:
    """Return the value as it goes on the wire, or None if it is invalid (RFC 9110, section 5.5).

    Control characters other than a tab are invalid (CR and LF would start another header), and so are characters
    outside of ASCII (recipients don't agree on such bytes). Blanks at the ends are cut off, as every recipient does.
    """
    if not text.isascii() or not (text.isprintable() or text.replace("\t", "").isprintable()):
        return None
    return text.strip(" \t").encode("ascii")


class HeadTemplate:
    """The head of requests to one target.

    ``fixed`` are the headers of every request, beside Host and Content-Length, which the template adds. Raises
    ValueError if a name or a value is invalid, or a name is one of those two. The method can't be HEAD or CONNECT: the
    session reads a body by the framing of the answer alone.

    ``start`` is the constant part: all of it up to the digits of the length.
    """

    __slots__ = ("start",)

    def __init__(self, method: str, url: Url, fixed: Sequence[tuple[str, str]] = ()) -> None:
        if header_name(method) is None:
            raise ValueError(f"{method!r} isn't an HTTP method")
        lines = [f"{method} {url.path} HTTP/1.1".encode("ascii"), b"Host: " + url.host_header.encode("ascii")]
        for name, value in fixed:
            lines.append(_colon_join((_fixed_name(name), _fixed_value(name, value))))
        lines.append(b"Content-Length: ")
        self.start = _line_join(lines)

    def render(self, content_length: int, extra: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
        """Return a whole head, which ends in an empty line.

        ``extra`` are names and values that :func:`header_name` and :func:`header_value` returned, or that are known to
        be safe: they aren't checked again.
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
