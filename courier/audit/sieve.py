"""The sieve of a search: finds in a raw block the few lines that may match, so that only these are parsed. Pure.

It may let through a line that doesn't match, and never holds back one that does. It relies on one spelling of each
record, the one that Courier writes: JSON escapes only what it must, and so does a row of text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import orjson

from courier.audit.filter import Filter
from courier.audit.literal import required_literal
from courier.audit.row import escape
from courier.audit.segment import TEXT
from courier.log.printable import is_encodable

Lines = Iterator[tuple[int, int]]
"""Beginnings and ends of lines in a block."""

MOST_NEEDLES: Final = 8
"""Alternatives above which it is faster to look at each line than to look for each of them."""

_TIME: Final = b'{"time":"'
_TIME_END: Final = len(_TIME) + len("2026-11-24T12:31:40.123Z")
MOST_DIGITS: Final = 9
_DURATIONS: Final = tuple(re.compile(b'"duration_ms":[0-9]{%d}' % digits) for digits in range(MOST_DIGITS + 1))
_ESCAPED: Final = re.compile(rb'[\x00-\x1f"\\]')
_BASE64: Final = b'"body_base64":'


def sieve(wanted: Filter, form: str) -> Callable[[bytes], Lines]:
    """Return the function that finds the lines of a block of this form that may match."""
    needs = list(_row_needs(wanted) if form == TEXT else _json_needs(wanted))
    digits = 0 if wanted.slower_than_ms is None or form == TEXT else len(str(int(max(0.0, wanted.slower_than_ms))))
    has_range = form != TEXT and bool(wanted.since or wanted.until)
    since, until = wanted.since.encode(), wanted.until.encode()

    if not needs and not has_range and digits <= 1:
        return _all

    def lines(block: bytes) -> Lines:
        if needs:
            found = _with_any(block, needs[0])
        elif digits > 1:
            found = _slow(block, digits)
        else:
            found = _all(block)
        for start, end in found:
            if has_range and block.startswith(_TIME, start) and block.startswith(b'Z"', start + _TIME_END - 1):
                time = block[start + len(_TIME) : start + _TIME_END]
                if time < since or (until and time > until):
                    continue
            if all(any(block.find(each, start, end) >= 0 for each in need) for need in needs[1:]):
                yield start, end

    return lines


def _json_needs(wanted: Filter) -> Iterator[Sequence[bytes]]:
    """Yield needs, the rarest first. A line must have one of the alternatives of each."""
    if 0 < len(wanted.message_ids) <= MOST_NEEDLES:
        yield [b'"message_id":' + orjson.dumps(each) for each in wanted.message_ids if is_encodable(each)]
    for text in (wanted.text, _literal(wanted)):
        if text:
            # A body in base64 hides what it contains; there are few of them, or the search is slower.
            yield [_in_json(text), _BASE64]
    if 0 < len(wanted.groups) <= MOST_NEEDLES:
        yield [b'"group":' + orjson.dumps(each) for each in wanted.groups if is_encodable(each)]
    if statuses := _statuses(wanted.statuses):
        yield statuses
    if 0 < len(wanted.outcomes) <= MOST_NEEDLES:
        # Without the closing quote: the record of a rejected message has the reason behind the word.
        yield [b'"outcome":' + orjson.dumps(each)[:-1] for each in wanted.outcomes if is_encodable(each)]


def _row_needs(wanted: Filter) -> Iterator[Sequence[bytes]]:
    # In an id, a byte that isn't UTF-8 is read as U+FFFD.
    if 0 < len(wanted.message_ids) <= MOST_NEEDLES and not any("\ufffd" in each for each in wanted.message_ids):
        yield [each.encode() for each in wanted.message_ids if is_encodable(each)]
    for text in (wanted.text, _literal(wanted)):
        # A row escapes a few characters as a whole, of which other bytes may be a part.
        if text and _is_utf8(text):
            # Courier 0.1.0 left backslashes alone, so that a row has escapes of other bytes too.
            yield [escape(text), text, b"\\x"]


def _literal(wanted: Filter) -> bytes:
    try:
        return required_literal(wanted.regex).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b""


def _statuses(statuses: frozenset[int | None]) -> list[bytes]:
    """Return what a line with one of these statuses contains; nothing if that is too much to look for."""
    needles = []
    for hundred in range(1, 10):
        whole = frozenset(range(hundred * 100, hundred * 100 + 100))
        if whole <= statuses:
            needles.append(b'"status":%d' % hundred)
            statuses = statuses - whole
    needles += [b'"status":null' if each is None else b'"status":%d' % each for each in statuses]
    return needles if len(needles) <= MOST_NEEDLES else []


def _in_json(text: bytes) -> bytes:
    """Return how a JSON string spells these bytes, which may begin or end within a character."""
    return _ESCAPED.sub(lambda match: orjson.dumps(match[0].decode())[1:-1], text)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _all(block: bytes) -> Lines:
    start = 0
    while end := block.find(b"\n", start) + 1:
        yield start, end
        start = end


def _with_any(block: bytes, needles: Sequence[bytes]) -> Lines:
    """Yield the lines that contain one of the needles."""
    found = {needle: at for needle in needles if (at := block.find(needle)) >= 0}
    while found:
        at = min(found.values())
        start, end = block.rfind(b"\n", 0, at) + 1, block.find(b"\n", at) + 1
        yield start, end
        for needle in [needle for needle, where in found.items() if where < end]:
            found[needle] = block.find(needle, end)
            if found[needle] < 0:
                del found[needle]


def _slow(block: bytes, digits: int) -> Lines:
    """Yield the lines whose duration has at least this many digits before its point."""
    end = 0
    for match in _DURATIONS[min(digits, MOST_DIGITS)].finditer(block):
        if match.start() >= end:
            start, end = block.rfind(b"\n", 0, match.start()) + 1, block.find(b"\n", match.end()) + 1
            yield start, end
