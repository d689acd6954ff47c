"""The segments that predecessors left unsealed. They are recovered, and sealed as they were found, oldest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from courier.audit.advice import advice
from courier.audit.chain import Chain, Link
from courier.audit.names import Listing, last_removed
from courier.audit.record import rfc3339
from courier.audit.recover import LogLines, Pause, count, cut_torn_line, is_strange, log_lines, recover
from courier.audit.seal import BY_RECOVERY, FINAL, checkpoint_fields
from courier.audit.sealing import Sealing
from courier.audit.segment import Segment
from courier.audit.tally import Tally

ATTEMPTS: Final = 3
"""How often a segment is read that can't be read, until it stays without a seal."""


NO_CHAIN: Final = Chain([], 0, "", False)


class Stopped(Exception):
    """The work was to stop before its end. The next start does it."""


class Predecessors:
    """The unsealed segments of predecessors.

    Those before the newest seal stay without one, because the segments after them are sealed already: they are of
    before 0.2, or couldn't be read.
    """

    def __init__(
        self,
        listing: Listing,
        sealing: Sealing,
        pause: Pause,
        on_damage: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        """``listing`` has the segments that no longer grow. ``pause`` and ``on_damage`` are those of ``recover``."""
        self._listing = listing
        self._sealing = sealing
        self._pause = pause
        self._on_damage = on_damage
        self._now = now
        self._previous: str | None = None
        self._unsealed: deque[Segment] = deque()
        self._tally: Tally | None = None
        self._attempts = 0

    def seal(self) -> str:
        """Seal all, and return the hash of the last final line, empty if there is none.

        Raise OSError if that is impossible now; the next call goes on. Raise Stopped if ``pause`` says so.
        """
        if self._previous is None:
            self._unsealed.clear()
            self._previous = self._begin()
        with log_lines() as lines:
            while self._unsealed:
                self._seal(self._unsealed[0], self._previous, lines)
                self._unsealed.popleft()
                self._tally, self._attempts = None, 0
        return self._previous

    def _begin(self) -> str:
        """Recover the segments of before 0.2, find the unsealed ones, and return the hash that they continue."""
        legacy = [segment.path for segment in self._listing.segments if segment.legacy]
        numbered = [segment for segment in self._listing.segments if not segment.legacy]
        recover(legacy, self._pause, self._on_damage, reads_newest=not numbered)
        if legacy and self._pause():
            raise Stopped
        is_sealed = False
        for segment in reversed(numbered):
            chain = self._sealing.seal(segment).read() if self._listing.is_begun(segment) else NO_CHAIN
            if final := _final(chain):
                return final.hash
            is_sound = not chain.fault or chain.is_cut
            if is_sound and not is_sealed:
                self._unsealed.appendleft(segment)
            if is_sound and chain.links:
                return str(chain.links[0].fields["previous"])
            is_sealed |= not is_sound
        return last_removed(self._sealing.directory)[1]

    def _seal(self, segment: Segment, previous: str, lines: LogLines) -> None:
        links = self._sealing.seal(segment).read().links
        tally = self._count(segment, links[-1].fields if links else {}, lines)
        if tally is None:
            return
        at = rfc3339(int(self._now() * 1000))
        checkpoint = tally.checkpoint()
        fields = checkpoint_fields(FINAL, segment.plain.name, segment.number, at, checkpoint, previous, BY_RECOVERY)
        self._previous = self._sealing.append(segment, fields)

    def _count(self, segment: Segment, checkpoint: Mapping[str, Any], lines: LogLines) -> Tally | None:
        """Cut off a torn end behind the last checkpoint, and return the tally; ``None`` if it can't be read at all."""
        if self._tally is not None:
            return self._tally
        sealed = checkpoint.get("offset", 0)
        try:
            if segment.packing or is_strange(segment.path, lines):
                return None
            cut_torn_line(segment.path, self._pause, lines, sealed if isinstance(sealed, int) else 0)
            self._tally = count(segment.path, self._pause, self._on_damage, lines)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._attempts += 1
            if self._attempts < ATTEMPTS:
                raise
            lines.unreadable(error.errno, file=str(segment.path), reason=error.strerror, advice=advice(error))
            return None
        if self._tally is None:
            raise Stopped
        return self._tally


def _final(chain: Chain) -> Link | None:
    """Return the final line of a seal."""
    return next((link for link in chain.links if link.fields.get("seal") == FINAL), None)
