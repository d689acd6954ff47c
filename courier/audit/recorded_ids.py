"""The dedupe window: the ids of the last recorded messages, in memory that all processes share.

A message whose record is durable but whose delete was lost comes back from SQS. Consumers look it up here. The auditor
alone writes, consumers read without a lock, and either may be killed or stopped at any instant: whatever a reader finds
half written is a miss, so that its message is delivered. Only a whole entry is a hit, and the auditor writes an entry
only after its record is durable.

The ids form a ring, which new ones overwrite from the oldest on. They are found by hash chains, as in LZ77: a table of
the latest entry of each bucket, and for each entry the one before it in its bucket. Nothing is ever removed from a
chain: a link is followed only while its entry is in the window. Ids are compared whole, never by their hash. The hash
of an entry only shows that it is whole, on processors too that reorder the stores of the writer.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple

from courier.errors import CannotStart
from courier.message import Message, Stamp

ID_BYTES: Final = 36
"""The longest id that is kept, in characters of ASCII: SQS's ids are UUIDs. Messages with others aren't recognised."""

STAMP_BYTES: Final = 24
"""Bytes of a packed stamp."""

MOST_STEPS: Final = 64
"""Entries of a bucket that are looked at. A bucket has one on average."""

MOST_AT_ONCE: Final = 1024
"""Entries that are written at once."""

_STAMP: Final = struct.Struct("<3Q")
_HEAD_BYTES: Final = 64
_SEQUENCE: Final = 0xFFFFFFFF
_IS_LOADED: Final = 1


class Ids(NamedTuple):
    """Ids, and the stamp of each."""

    ids: Sequence[str]
    stamps: Sequence[Stamp]


class PackedIds(NamedTuple):
    """Ids one after another, each padded with NULs to ID_BYTES, their stamps likewise, and their number."""

    number: int
    ids: bytes
    stamps: bytes

    def unpack(self) -> Ids:
        """Return the ids and stamps."""
        ids = [
            self.ids[start : start + ID_BYTES].rstrip(b"\0").decode(errors="replace")
            for start in range(0, self.number * ID_BYTES, ID_BYTES)
        ]
        numbers = _stamps(self.number).unpack(self.stamps)
        return Ids(ids, [numbers[start : start + 3] for start in range(0, len(numbers), 3)])


def pack_ids(ids: Sequence[str], stamps: Sequence[Stamp]) -> tuple[Ids, PackedIds]:
    """Return the ids that can be kept, and the same packed."""
    joined = "".join(ids)
    are_full = len(joined) == ID_BYTES * len(ids) and max(map(len, ids), default=0) <= ID_BYTES
    if not are_full or not joined.isascii() or "\0" in joined:
        kept = [number for number, each in enumerate(ids) if is_kept(each)]
        ids, stamps = [ids[number] for number in kept], [stamps[number] for number in kept]
        joined = "".join([each.ljust(ID_BYTES, "\0") for each in ids])
    packed = _stamps(len(ids)).pack(*chain.from_iterable(stamps))
    return Ids(ids, stamps), PackedIds(len(ids), joined.encode(), packed)


def is_kept(message_id: str) -> bool:
    """Return whether an id is one that can be kept and compared exactly."""
    return 0 < len(message_id) <= ID_BYTES and message_id.isascii() and "\0" not in message_id


@lru_cache(maxsize=256)
def _stamps(count: int) -> struct.Struct:
    return struct.Struct(f"<{3 * count}Q")


class RecordedIds:
    """The last ``window`` ids whose records are durable. Create it before the fork.

    Its memory is about 77 bytes an id, of which untouched pages cost nothing. The processes that share it must be forks
    of one interpreter, because the hashes of strings differ between others.
    """

    def __init__(self, memory: memoryview, window: int) -> None:
        """``memory`` has :func:`needed_bytes` bytes for this ``window``, zeroed at first."""
        buckets = _buckets(window)
        self.window = window
        self._mask = buckets - 1
        sizes = (_HEAD_BYTES, window * STAMP_BYTES, window * 8, buckets * 4, window * 4, window * ID_BYTES)
        parts = []
        for size in sizes:
            parts.append(memory[:size])
            memory = memory[size:]
        head, self._stamps, checks, index, links, self._ids = parts
        self._head: memoryview[int] = head.cast("Q")
        self._checks: memoryview[int] = checks.cast("q")
        self._index: memoryview[int] = index.cast("I")
        self._links: memoryview[int] = links.cast("I")
        # The checks as bytes, because a slice of them is written with one copy.
        self._check_bytes = checks

    @classmethod
    def create(cls, window: int) -> RecordedIds:
        """Return an empty window in new shared memory; ``window`` is at least 1. Raise CannotStart."""
        needed = needed_bytes(window)
        try:
            memory = mmap.mmap(-1, needed)
        except OSError as error:
            reason = error.strerror or str(error)
            raise CannotStart(
                f"--dedupe-window {window} needs {-(-needed // 1024**2)} MiB of memory: {reason}; lower it, or allow "
                "more (ulimit -v, or the overcommit of the machine)"
            ) from None
        return cls(memoryview(memory), window)

    @property
    def written(self) -> int:
        """The number of ids that were ever written."""
        return self._head[0]

    @property
    def is_loaded(self) -> bool:
        """Whether the ids of earlier runs have been written too."""
        return bool(self._head[_IS_LOADED])

    def loaded(self) -> None:
        """Note that the ids of earlier runs have been written."""
        self._head[_IS_LOADED] = 1

    def add(self, kept: Ids, packed: PackedIds) -> None:
        """Write ids whose records are durable: both results of :func:`pack_ids`. Only the auditor may call it.

        The entries come first, then their number, then the table of the buckets. Killed in between, the writer leaves
        entries that nobody finds, and its successor writes over them.
        """
        if packed.number > min(self.window, MOST_AT_ONCE):
            self._add_in_pieces(kept)
            return
        window, written = self.window, self._head[0]
        begin = (written + 1) % window
        checks = struct.pack(f"<{packed.number}q", *map(hash, zip(*kept, strict=True)))
        end = begin + packed.number
        if end <= window:
            self._ids[begin * ID_BYTES : end * ID_BYTES] = packed.ids
            self._stamps[begin * STAMP_BYTES : end * STAMP_BYTES] = packed.stamps
            self._check_bytes[begin * 8 : end * 8] = checks
        else:
            for part, size, data in (
                (self._ids, ID_BYTES, packed.ids),
                (self._stamps, STAMP_BYTES, packed.stamps),
                (self._check_bytes, 8, checks),
            ):
                fitting = (window - begin) * size
                part[begin * size :] = data[:fitting]
                part[: len(data) - fitting] = data[fitting:]
        self._head[0] = written + packed.number
        index, links, mask = self._index, self._links, self._mask
        place = begin
        for sequence, each in enumerate(kept.ids, written + 1):
            if place == window:
                place = 0
            bucket = hash(each) & mask
            links[place] = index[bucket]
            index[bucket] = sequence & _SEQUENCE
            place += 1

    def _add_in_pieces(self, kept: Ids) -> None:
        size = min(self.window, MOST_AT_ONCE)
        for start in range(max(0, len(kept.ids) - self.window), len(kept.ids), size):
            self.add(*pack_ids(kept.ids[start : start + size], kept.stamps[start : start + size]))

    def holds(self, message_id: str, stamp: Stamp) -> bool:
        """Return whether the id is in the window with exactly this stamp."""
        return any(found == stamp for found in self._find(message_id))

    def recognises(self, message: Message) -> bool:
        """Return whether this is a later receive of a message whose record is durable.

        It is if id and send time are those of the record, the receive count is greater, and it was first received when
        the recorded one was. A message that was sent again under its id has another send time or first receive, or
        counts its receives from the start. Where the queue says no send time nothing is recognised; where the first
        receive isn't known, as in what was read back from a segment, it isn't compared.
        """
        if not message.sent_ms:
            return False
        return any(
            receives < message.receive_count
            and sent_ms == message.sent_ms
            and first_received_ms in (message.first_received_ms, 0)
            for receives, sent_ms, first_received_ms in self._find(message.message_id)
        )

    def _find(self, message_id: str) -> Iterator[Stamp]:
        """Yield the stamps of the whole entries with this id, the latest first."""
        if not is_kept(message_id):
            return
        wanted = message_id.encode().ljust(ID_BYTES, b"\0")
        at = self._index[hash(message_id) & self._mask]
        # After the table, so that it counts whatever the table names.
        written, window = self._head[0], self.window
        last_back = -1
        for _ in range(MOST_STEPS):
            back = (written - at) & _SEQUENCE
            if not at or not last_back < back < window:
                return
            place = (written - back) % window
            if self._ids[place * ID_BYTES : (place + 1) * ID_BYTES] == wanted:
                stamp: Stamp = _STAMP.unpack_from(self._stamps, place * STAMP_BYTES)
                if self._checks[place] == hash((message_id, stamp)):
                    yield stamp
            last_back = back
            at = self._links[place]


def needed_bytes(window: int) -> int:
    """Return the bytes of memory of a window."""
    return _HEAD_BYTES + window * (STAMP_BYTES + 8 + 4 + ID_BYTES) + _buckets(window) * 4


def _buckets(window: int) -> int:
    """Return the number of buckets: the next power of two."""
    return max(2, 1 << (window - 1).bit_length())
