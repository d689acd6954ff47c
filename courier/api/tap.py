"""GET /tap: attempts to deliver as they end, one JSON object a line, for ``courier tap``.

Senders write them only while somebody taps. An attempt has the fields of :meth:`Attempt.as_line`. Once a second a line
``{"attempts": 2300, "shown": 200, "failures": 3, "failures_shown": 3}`` says how many there were since the last such
line, and that the stream lives.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from courier.api.events import Stream
from courier.api.local import LOCAL_ONLY, is_local
from courier.board.attempts import Attempt, unpack
from courier.board.senders import sender_slots
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard, Slot

MOST_TAPS: Final = 4
LOOK_SECONDS: Final = 0.2
"""Seconds between two looks at what the senders wrote: their rings hold what they show in more than two seconds."""

LEASE_SECONDS: Final = 3.0
"""Seconds after which senders stop by themselves if this process doesn't go on."""

MOST_UNSENT_BYTES: Final = 256 * 1024
"""Bytes that wait for a slow reader. What comes beyond that it misses."""

FAILURES: Final = "failures"
"""The parameter of the query for failures only."""

_HEADERS: Final = {"Content-Type": "application/x-ndjson", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Counts(NamedTuple):
    """Attempts, and those that failed; and how many of them were shown."""

    attempts: int = 0
    shown: int = 0
    failures: int = 0
    failures_shown: int = 0


class Taps:
    """The open taps, and the look at the senders' attempts while there are any."""

    def __init__(self, slot: Slot, board: Scoreboard) -> None:
        """``slot`` is this process's."""
        self._slot = slot
        self._rings = [sender.ring for sender in sender_slots(board)]
        self._streams: set[Stream] = set()
        self._only_failures: set[Stream] = set()
        self._seen: list[int] = []
        self._counts = Counts()
        self._reported = 0.0
        self._look: asyncio.TimerHandle | None = None
        self._ended = False

    def __len__(self) -> int:
        """Return the number of open taps."""
        return len(self._streams)

    async def answer(self, request: Request) -> Response:
        """Return a stream of attempts to a client on this machine; raise HTTPException (403, 503)."""
        if not is_local(request):
            raise HTTPException(403, LOCAL_ONLY)
        if len(self._streams) >= MOST_TAPS:
            raise HTTPException(503, f"{MOST_TAPS} taps are open already; end one of them", {"Retry-After": "10"})
        if request.method == "HEAD":
            return Response(headers=_HEADERS)
        stream = Stream(self._streams, _HEADERS)
        if request.query_params.get(FAILURES) == "1":
            self._only_failures.add(stream)
        if self._ended:
            stream.end()
        elif self._look is None:
            self._seen = [ring.last for ring in self._rings]
            self._counts, self._reported = Counts(), time.monotonic()
            self._renew(LEASE_SECONDS)
            self._look = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._read)
        # What the stream begins with reaches the client at once, which knows then that it is connected.
        stream.add(_line(Counts()._asdict()), MOST_UNSENT_BYTES)
        return stream

    def end(self) -> None:
        """End all taps, and every later one at once. A server waits for its streams before it stops."""
        self._ended = True
        for stream in self._streams:
            stream.end()

    def _read(self) -> None:
        """Pass on what the senders wrote, and look again shortly while anybody taps."""
        self._only_failures &= self._streams
        if not self._streams:
            self._look = None
            self._renew(0.0)
            return
        self._renew(LEASE_SECONDS)
        self._look = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._read)
        found = sorted(self._new(), key=lambda each: each[1].at_ms)
        lines = [(attempt.is_failure, _line(attempt.as_line(sender))) for sender, attempt in found]
        share = self._share()
        whole = b"".join(line for _, line in lines) + share
        failures = b"".join(line for is_failure, line in lines if is_failure) + share
        for stream in self._streams:
            if data := failures if stream in self._only_failures else whole:
                stream.add(data, MOST_UNSENT_BYTES)

    def _new(self) -> list[tuple[int, Attempt]]:
        found = []
        for sender, ring in enumerate(self._rings):
            records, lost = ring.read_after(self._seen[sender])
            self._seen[sender] += len(records) + lost
            attempts = [unpack(record) for record in records]
            failures = sum(each.is_failure for each in attempts)
            self._counts = Counts(
                self._counts.attempts + lost + len(attempts) + sum(each.skipped for each in attempts),
                self._counts.shown + len(attempts),
                self._counts.failures + failures + sum(each.skipped_failures for each in attempts),
                self._counts.failures_shown + failures,
            )
            found += [(sender, attempt) for attempt in attempts]
        return found

    def _share(self) -> bytes:
        """Return the line about the last second, empty before it is over."""
        now = time.monotonic()
        if now - self._reported < 1.0:
            return b""
        line, self._counts, self._reported = _line(self._counts._asdict()), Counts(), now
        return line

    def _renew(self, seconds: float) -> None:
        self._slot.reals[scoreboard.TAP_UNTIL] = time.monotonic() + seconds if seconds else 0.0


def _line(fields: Mapping[str, Any]) -> bytes:
    return orjson.dumps(fields) + b"\n"
