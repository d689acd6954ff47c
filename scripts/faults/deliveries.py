"""The requests that a recipient got, kept in columns: millions of them fit where as many objects would not."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, overload

from scripts.faults.events import Delivery

_ID_BYTES: Final = 16
_DIGEST_BYTES: Final = 16
_UUID_CHARACTERS: Final = 36


class Deliveries(Sequence[Delivery]):
    """The deliveries in order of arrival: one thread writes, any may read.

    A row is there for readers once all its columns are. Its answer may follow, so that a delivery read twice may differ
    in ``answered`` and ``status``. ``accepted`` counts the answers by message that were 2xx and went out whole.
    """

    def __init__(self) -> None:
        self.accepted: Counter[str] = Counter()
        self._arrived = array("d")
        self._answered = array("d")
        self._status = array("H")
        self._port = array("H")
        self._ids = bytearray()
        self._digests = bytearray()
        # Ids of SQS are UUIDs; others are legal, and are kept as they are.
        self._odd_ids: dict[int, str] = {}
        self._length = 0

    def arrive(self, at: float, message_id: str, digest: bytes, port: int) -> int:
        """Add a request without an answer; returns its row."""
        row = self._length
        packed = _pack(message_id)
        if packed is None:
            self._odd_ids[row] = message_id
            packed = bytes(_ID_BYTES)
        self._ids += packed
        self._digests += digest
        self._arrived.append(at)
        self._answered.append(math.nan)
        self._status.append(0)
        self._port.append(port)
        self._length = row + 1
        return row

    def answer(self, row: int, at: float, message_id: str, status: int) -> None:
        """Note that the whole answer of a request went out."""
        self._status[row] = status
        self._answered[row] = at
        if 200 <= status < 300:
            self.accepted[message_id] += 1

    def begin_answer(self, row: int, status: int) -> None:
        """Note the status of an answer that went out in part, or in a form that is no proper answer."""
        self._status[row] = status

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Delivery: ...

    @overload
    def __getitem__(self, index: slice) -> list[Delivery]: ...

    def __getitem__(self, index: int | slice) -> Delivery | list[Delivery]:
        if isinstance(index, slice):
            return [self._row(row) for row in range(*index.indices(self._length))]
        row = index + self._length if index < 0 else index
        if not 0 <= row < self._length:
            raise IndexError(index)
        return self._row(row)

    def __iter__(self) -> Iterator[Delivery]:
        return (self._row(row) for row in range(self._length))

    def _row(self, row: int) -> Delivery:
        answered = self._answered[row]
        odd_id = self._odd_ids.get(row)
        start = row * _ID_BYTES
        return Delivery(
            self._arrived[row],
            None if math.isnan(answered) else answered,
            _unpack(self._ids[start : start + _ID_BYTES]) if odd_id is None else odd_id,
            self._status[row],
            bytes(self._digests[row * _DIGEST_BYTES : (row + 1) * _DIGEST_BYTES]),
            self._port[row],
        )


def _pack(message_id: str) -> bytes | None:
    """Return the bytes of a UUID in its canonical form, None for anything else."""
    if len(message_id) != _UUID_CHARACTERS:
        return None
    try:
        packed = bytes.fromhex(message_id.replace("-", ""))
    except ValueError:
        return None
    return packed if len(packed) == _ID_BYTES and _unpack(packed) == message_id else None


def _unpack(packed: bytes | bytearray) -> str:
    digits = packed.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
