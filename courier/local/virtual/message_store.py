"""The messages of a queue, and their transitions from state to state as time passes.

Each step costs O(log n) at most, however many messages wait. Messages that become visible later (delayed, or received
and not deleted) are in a heap, ordered by the time at which they become visible. An entry whose message has moved on
stays in the heap and is skipped; the heap is rebuilt when most entries are stale. Visible messages wait in a line, the
oldest first: a message that comes back from a receive, or from its delay, goes ahead of newer ones. A message that has
since been deleted or hidden is skipped when its turn comes.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Final, NamedTuple

from courier.local.virtual.settings import QueueSettings
from courier.local.virtual.stored import DELAYED, GONE, IN_FLIGHT, NEVER, VISIBLE, StoredMessage

EXPIRY_CHECK_SECONDS: Final = 1.0
REBUILD_AT: Final = 1024


class MessageCounts(NamedTuple):
    """How many messages a queue holds, by state."""

    visible: int
    in_flight: int
    delayed: int


class MessageStore:
    """The messages of one standard queue. ``now`` is the caller's clock in seconds, and must not go back.

    A FIFO queue overrides the last three methods.
    """

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings
        self._live: dict[int, StoredMessage] = {}
        self._line: deque[StoredMessage] = deque()
        self._back: list[tuple[int, StoredMessage]] = []
        self._later: list[tuple[float, int, StoredMessage]] = []
        self._pushes = 0
        self._stale = 0
        self._visible = 0
        self._delayed = 0
        self._in_flight = 0
        self._serial = 0
        self._turn = 0
        self._expiry_check = 0.0

    def counts(self, now: float) -> MessageCounts:
        """Count the messages by state."""
        self._surface(now)
        return MessageCounts(self._visible, self._in_flight, self._delayed)

    def held_bytes(self) -> int:
        """Return the size of all messages. It takes time for each of them."""
        return sum(message.size for message in self._live.values())

    def next_change(self) -> float | None:
        """Return when a message may next become visible by itself; ``None`` if none will."""
        return self._later[0][0] if self._later else None

    def purge(self) -> None:
        """Delete all messages, including those in flight."""
        self._live.clear()
        self._line.clear()
        self._back.clear()
        self._later.clear()
        self._stale = self._visible = self._delayed = self._in_flight = 0

    def apply(self, settings: QueueSettings) -> None:
        """Change the queue's settings. In a standard queue a new delay applies only to new messages."""
        self.settings = settings
        self._expiry_check = 0.0

    def _store(self, message: StoredMessage, now: float, delay: int) -> None:
        self._serial += 1
        message.serial = self._serial
        self._live[message.serial] = message
        if delay > 0:
            message.state = DELAYED
            self._delayed += 1
            self._hide_until(message, now + delay)
        else:
            message.state = VISIBLE
            message.due = NEVER
            self._visible += 1
            self._line_up(message)

    def _surface(self, now: float) -> None:
        """Show the messages that are due, and remove those that are too old. Every operation begins with this."""
        later = self._later
        while later and later[0][0] <= now:
            due, _, message = heapq.heappop(later)
            if message.due == due:
                self._make_visible(message)
            else:
                self._stale -= 1
        if now >= self._expiry_check:
            self._expire(now)

    def _make_visible(self, message: StoredMessage) -> None:
        was_in_flight = message.state == IN_FLIGHT
        message.state = VISIBLE
        message.due = NEVER
        self._visible += 1
        if was_in_flight:
            self._in_flight -= 1
            self._left_flight(message)
        else:
            self._delayed -= 1
        self._line_up(message)

    def _hide_again(self, message: StoredMessage, until: float) -> None:
        if message.state == IN_FLIGHT:
            self._leave_stale_entry()
        else:
            self._visible -= 1
            self._in_flight += 1
            message.state = IN_FLIGHT
        self._hide_until(message, until)

    def _give_out(self, message: StoredMessage, now: float, hidden: int) -> None:
        self._visible -= 1
        self._in_flight += 1
        self._turn += 1
        message.state = IN_FLIGHT
        message.turn = self._turn
        message.received = now
        message.receive_count += 1
        if message.receive_count == 1:
            message.first_received = now
        self._hide_until(message, now + hidden)

    def _hide_until(self, message: StoredMessage, due: float) -> None:
        message.due = due
        self._pushes += 1
        heapq.heappush(self._later, (due, self._pushes, message))

    def _remove(self, message: StoredMessage) -> None:
        state = message.state
        message.state = GONE
        message.due = NEVER
        message.empty()
        del self._live[message.serial]
        if state == VISIBLE:
            self._visible -= 1
            return
        if state == DELAYED:
            self._delayed -= 1
        else:
            self._in_flight -= 1
            self._left_flight(message)
        self._leave_stale_entry()

    def _leave_stale_entry(self) -> None:
        self._stale += 1
        later = self._later
        if self._stale > REBUILD_AT and self._stale * 2 > len(later):
            later[:] = [entry for entry in later if entry[2].due == entry[0]]
            heapq.heapify(later)
            self._stale = 0

    def _expire(self, now: float) -> None:
        """Remove messages older than the retention period.

        They are checked from the oldest arrival on, at most once a second, because iterating over a dictionary must
        first skip the entries deleted at its front. A dead letter keeps its original send time, so it may expire before
        messages ahead of it. Until those are gone it is still counted, but it isn't handed out.
        """
        retention = self.settings.retention
        expired = []
        oldest = now
        for message in self._live.values():
            if message.sent + retention > now:
                oldest = message.sent
                break
            expired.append(message)
        for message in expired:
            self._remove(message)
        self._expiry_check = max(oldest + retention, now + EXPIRY_CHECK_SECONDS)

    def _line_up(self, message: StoredMessage) -> None:
        """Put a message that is now visible where a receive finds it: a new one at the end, another in a heap."""
        if message.in_line:
            return
        message.in_line = True
        line = self._line
        if not line or line[-1].serial < message.serial:
            line.append(message)
        else:
            heapq.heappush(self._back, (message.serial, message))

    def _next(self) -> StoredMessage | None:
        """Remove and return the oldest visible message."""
        line, back = self._line, self._back
        while line or back:
            newer_back = not back or (line and line[0].serial < back[0][0])
            message = line.popleft() if newer_back else heapq.heappop(back)[1]
            message.in_line = False
            if message.state == VISIBLE:
                return message
        return None

    def _left_flight(self, message: StoredMessage) -> None:
        """React to a received message having been deleted or become visible again."""
