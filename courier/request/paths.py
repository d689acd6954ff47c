"""Paths that messages choose: what is sent is within the allowed prefixes, however the recipient reads it.

Recipients, proxies and frameworks don't agree on a path with an escaped slash, an empty segment or a dot segment: one
checks it as it stands, the next one resolves it. Such a path is refused, so that there is only one way to read what is
sent. The rest is in the normal form of RFC 3986, section 6.2.2.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

LONGEST_PATH: Final = 2048
"""The most characters of a path, so that it leaves room for the headers."""

PATHS_KEPT: Final = 256
LONGEST_KEPT: Final = 256
"""The most paths that are kept, and their most characters: senders to the queue must not fill the memory with them."""

_SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+")
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DELIMITERS: Final = frozenset("/\\%?#")
"""Characters that would change the path if somebody resolves its escapes and reads it again."""


class PathError(ValueError):
    """A path that isn't sent; the text says what is wrong with it, and holds nothing of it."""


def read_path(text: str) -> str:
    """Return a path in its normal form; raise PathError if recipients may read it in more than one way.

    It begins with a slash and has no query, no fragment, no empty segment but the last, and no segment of dots. No
    escape stands for a control character, a delimiter or bytes that aren't UTF-8.
    """
    if not text.startswith("/"):
        raise PathError("it must begin with a slash")
    if len(text) > LONGEST_PATH:
        raise PathError(f"it has more than {LONGEST_PATH} characters")
    *segments, last = text[1:].split("/")
    normal = [_segment(each) for each in segments]
    normal.append(_segment(last) if last else "")
    return "/" + "/".join(normal)


def _segment(segment: str) -> str:
    if not segment:
        raise PathError("it has an empty segment")
    if not _SEGMENT.fullmatch(segment):
        raise PathError("it has a query, a fragment, a bad escape, or a character that must be escaped")
    try:
        # Some recipients also take the other forms of a character for the character, such as a full-width dot.
        plain = unicodedata.normalize("NFKC", unquote_to_bytes(segment).decode())
    except UnicodeDecodeError:
        raise PathError("it has an escape that isn't UTF-8") from None
    if not plain.isprintable() or not _DELIMITERS.isdisjoint(plain):
        raise PathError("it has an escaped delimiter or control character")
    # Some servers cut parameters off before they resolve dots, and some leave out blanks.
    if not plain.partition(";")[0].strip(". "):
        raise PathError("it has an empty segment, or one of dots")
    return _ESCAPE.sub(_normal_escape, segment)


def _normal_escape(match: re.Match[str]) -> str:
    byte = int(match[0][1:], 16)
    return chr(byte) if byte in _UNRESERVED else match[0].upper()


class AllowedPaths:
    """The paths that messages may choose: those below some prefixes, and some others by themselves."""

    def __init__(self, prefixes: Sequence[str], single: Collection[str] = ()) -> None:
        """Take prefixes and single paths as :func:`read_path` returns them.

        A prefix ends with a segment: ``/jobs`` allows ``/jobs`` and ``/jobs/mail``, but not ``/jobs2``.
        """
        self._kept = lru_cache(maxsize=PATHS_KEPT)(self._read)
        self._exact = frozenset((*prefixes, *single))
        self._starts = tuple({f"{prefix.removesuffix('/')}/" for prefix in prefixes})

    def read(self, text: str) -> bytes:
        """Return the path to send for the text of an attribute. Raise PathError if it isn't allowed."""
        return self._kept(text) if len(text) <= LONGEST_KEPT else self._read(text)

    def _read(self, text: str) -> bytes:
        path = read_path(text)
        if path not in self._exact and not path.startswith(self._starts):
            raise PathError("it is below no prefix of --path-allow")
        return path.encode("ascii")
