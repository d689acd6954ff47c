"""The selection of a message's headers that fit into a head, and the header that names the others."""

from __future__ import annotations

from typing import Final

DEFAULT_HEAD_BYTES: Final = 8190
"""Apache's limit for a line. Tomcat, older versions of Node and many proxies limit the whole head to about 8 KiB."""

LEAST_HEAD_BYTES: Final = 1024
MOST_HEAD_BYTES: Final = 1024**2

OMITTED: Final = "Courier-Omitted-Headers"
"""The header that names the headers left out."""

_LONGEST_LIST: Final = 512
_AND_MORE: Final = b"and %d more"
_MORE_BYTES: Final = 24
"""Maximum bytes of the words for the names that don't fit, with the separator before them."""


def list_bytes(most_bytes: int) -> int:
    """Return the maximum bytes of the list of names in heads of at most ``most_bytes``."""
    return min(_LONGEST_LIST, most_bytes // 8)


def reserved_bytes(most_bytes: int) -> int:
    """Return the maximum bytes of the header that names the others, including its line end."""
    return len(OMITTED) + len(": \r\n") + list_bytes(most_bytes)


def least_bytes(fixed_bytes: int) -> int:
    """Return the smallest possible limit for a head of which ``fixed_bytes`` are always sent."""
    needed = fixed_bytes + len(OMITTED) + len(": \r\n")
    return min(needed + _LONGEST_LIST, -(-needed * 8 // 7))


class Fitted:
    """The header lines that fit, and the names of the others, both in the order of sending."""

    __slots__ = ("lines", "omitted")

    def __init__(self, lines: bytes, omitted: list[bytes]) -> None:
        self.lines = lines
        self.omitted = omitted


def fit(headers: bytes, attributes: bytes, room: int) -> Fitted:
    """Choose the header lines that fit into ``room`` bytes.

    ``headers`` are those of the set chosen with --headers, and those of --header; ``attributes`` are those of message
    attributes. Attributes are left out first, and in each group the longest first, so that as few as possible are lost.
    """
    lines = [(0, line) for line in _split(headers)] + [(1, line) for line in _split(attributes)]
    by_rank = sorted(range(len(lines)), key=lambda index: (lines[index][0], len(lines[index][1]), index))
    stay: set[int] = set()
    for index in by_rank:
        size = len(lines[index][1])
        if size <= room:
            room -= size
            stay.add(index)
    kept = b"".join([line for index, (_, line) in enumerate(lines) if index in stay])
    return Fitted(kept, [line.partition(b":")[0] for index, (_, line) in enumerate(lines) if index not in stay])


def omitted_line(names: list[bytes], most_bytes: int) -> bytes:
    """Return the header line that names the headers left out; names that don't fit into the line are only counted."""
    if not names:
        return b""
    room = list_bytes(most_bytes)
    listed: list[bytes] = []
    size = 0
    for name in names:
        size += len(name) + 2
        if size > room - _MORE_BYTES:
            break
        listed.append(name)
    more = len(names) - len(listed)
    if more:
        listed.append(_AND_MORE % more if listed else b"%d" % more)
    return b"%b: %b\r\n" % (OMITTED.encode("ascii"), b", ".join(listed))


def _split(lines: bytes) -> list[bytes]:
    return lines.splitlines(keepends=True)
