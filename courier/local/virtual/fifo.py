"""A FIFO queue in memory: groups in order, and deduplication."""

from __future__ import annotations

import heapq
import sys
from collections import deque
from typing import Final, NamedTuple

from courier.local.virtual.errors import not_available, receipt_has_expired
from courier.local.virtual.queue import Accepted, VirtualQueue
from courier.local.virtual.settings import QueueSettings
from courier.local.virtual.stored import DELAYED, IN_FLIGHT, VISIBLE, StoredMessage

DEDUPLICATION_SECONDS: Final = 300
ATTEMPT_SECONDS: Final = 300
FIRST_SEQUENCE: Final = 18_800_000_000_000_000_000


class _Group:
    """The messages of one group: the visible ones and those in flight, oldest first.

    A message is handed out only if no older one of its group is in flight. So a partly received group is locked. If the
    oldest message of a group becomes visible again, the group is open for that message, although later ones may still
    be in flight.
    """

    __slots__ = ("flying", "in_line", "name", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: list[tuple[int, StoredMessage]] = []
        self.flying: list[tuple[int, int, StoredMessage]] = []
        self.in_line = False

    def oldest_in_flight(self) -> int:
        """Return the serial of the oldest message in flight; more than any serial if there is none."""
        flying = self.flying
        while flying and not (flying[0][2].state == IN_FLIGHT and flying[0][2].turn == flying[0][1]):
            heapq.heappop(flying)
        return flying[0][0] if flying else sys.maxsize

    def oldest_waiting(self) -> int:
        """Return the serial of the oldest visible message; more than any serial if there is none."""
        waiting = self.waiting
        while waiting and waiting[0][1].state != VISIBLE:
            heapq.heappop(waiting)
        return waiting[0][0] if waiting else sys.maxsize


class _Given(NamedTuple):
    """One message of a repeatable receive, as it was when it was handed out."""

    message: StoredMessage
    turn: int
    due: float


class VirtualFifoQueue(VirtualQueue):
    """A FIFO queue: its differences from a standard queue."""

    fifo = True

    def __init__(self, name: str, region: str, settings: QueueSettings, created: float) -> None:
        super().__init__(name, region, settings, created)
        self._groups: dict[str, _Group] = {}
        self._free_groups: deque[_Group] = deque()
        self._served: _Group | None = None
        self._served_below = 0
        self._accepted: dict[tuple[str, str], Accepted] = {}
        self._accepted_until: deque[tuple[float, tuple[str, str]]] = deque()
        self._attempts: dict[str, tuple[float, list[_Given]]] = {}
        self._attempts_until: deque[tuple[float, str]] = deque()

    def has_receivable(self, now: float) -> bool:
        """Return whether a receive would find something: a message in a free group."""
        return super().has_receivable(now) and bool(self._free_groups)

    def refuses_short_poll(self, now: float) -> bool:
        """Return ``False``: at the limit of messages in flight, a FIFO queue returns no messages and no error."""
        return False

    def sequence(self, message: StoredMessage) -> str:
        """Return the sequence number of a message. It grows within the queue."""
        return str(FIRST_SEQUENCE + message.serial)

    def send(self, message: StoredMessage, now: float, delay: int | None = None) -> Accepted:
        """Accept a new message, unless one with the same deduplication id came in the last five minutes.

        The sender of a duplicate gets the answer to the first one. ``delay`` is ignored.
        """
        while self._accepted_until and self._accepted_until[0][0] <= now:
            del self._accepted[self._accepted_until.popleft()[1]]
        scope = message.group if self.settings.deduplicates_per_group else ""
        key = (scope, message.deduplication_id)
        earlier = self._accepted.get(key)
        if earlier is not None:
            return earlier
        accepted = super().send(message, now)
        self._accepted[key] = accepted
        self._accepted_until.append((now + DEDUPLICATION_SECONDS, key))
        return accepted

    def receive_again(self, attempt_id: str, now: float, visibility: int | None = None) -> list[StoredMessage]:
        """Hand out again what the receive with this attempt id handed out in the last five minutes.

        The messages are hidden anew, under the same receipt handles. The result is empty if there was no such receive,
        or if one of its messages has been deleted, changed or lapsed since.
        """
        self._surface(now)
        while self._attempts_until and self._attempts_until[0][0] <= now:
            until, attempt = self._attempts_until.popleft()
            if attempt in self._attempts and self._attempts[attempt][0] == until:  # else it was used again since
                del self._attempts[attempt]
        given = self._attempts.get(attempt_id, (0.0, []))[1]
        if not all(g.message.state == IN_FLIGHT and g.message.turn == g.turn and g.message.due == g.due for g in given):
            return []
        hidden = self.settings.visibility if visibility is None else visibility
        for message, _, _ in given:
            self._hide_until(message, now + hidden)
            self._leave_stale_entry()
        messages = [g.message for g in given]
        if messages:
            until = self._attempts[attempt_id][0]
            self._attempts[attempt_id] = (until, [_Given(m, m.turn, m.due) for m in messages])
        return messages

    def remember(self, attempt_id: str, messages: list[StoredMessage], now: float) -> None:
        """Remember what a receive handed out, for :meth:`receive_again`."""
        until = now + ATTEMPT_SECONDS
        self._attempts[attempt_id] = (until, [_Given(m, m.turn, m.due) for m in messages])
        self._attempts_until.append((until, attempt_id))

    def receive(self, count: int, now: float, visibility: int | None = None) -> list[StoredMessage]:
        """Hand out up to ``count`` messages in order: as many as one free group has, then those of the next."""
        taken = super().receive(count, now, visibility)
        self._stop_serving()
        return taken

    def delete(self, receipt: str, now: float) -> None:
        """Delete the message of a receipt handle. Do nothing if it is gone already.

        Raise ServiceError if the visibility timeout of the handle is over, or the handle isn't one of this queue.
        """
        self._surface(now)
        message, newest = self._find(receipt)
        if message is None:
            return
        if not newest or message.state != IN_FLIGHT:
            raise receipt_has_expired(receipt)
        self._remove(message)

    def change_visibility(self, receipt: str, timeout: int, now: float) -> None:
        """Change the visibility like a standard queue, but refuse a handle whose visibility timeout is over."""
        self._surface(now)
        message, newest = self._find(receipt)
        if message is None or not newest or message.state != IN_FLIGHT:
            raise not_available(receipt)
        super().change_visibility(receipt, timeout, now)

    def oldest(self, now: float) -> StoredMessage | None:
        """Return the message that a receive would give next. It stays where it is."""
        message = super().oldest(now)
        self._stop_serving()
        return message

    def accept_dead_letter(self, message: StoredMessage, source: VirtualQueue, now: float) -> None:
        """Take over a message. Its retention starts anew, and its deduplication id is now its message id."""
        message.sent = now
        message.deduplication_id = message.message_id
        super().accept_dead_letter(message, source, now)

    def apply(self, settings: QueueSettings) -> None:
        """Change the queue's settings. A new delay also applies to messages that are already delayed."""
        changed = settings.delay != self.settings.delay
        super().apply(settings)
        if changed:
            self._later = [entry for entry in self._later if entry[2].state == IN_FLIGHT]
            heapq.heapify(self._later)
            for message in self._live.values():
                if message.state == DELAYED:
                    self._hide_until(message, message.sent + settings.delay)

    def purge(self) -> None:
        """Delete all messages, and forget the deduplication ids, like SQS."""
        super().purge()
        self._accepted.clear()
        self._accepted_until.clear()
        self._groups.clear()
        self._free_groups.clear()
        self._attempts.clear()
        self._attempts_until.clear()

    def _line_up(self, message: StoredMessage) -> None:
        group = self._groups.get(message.group)
        if group is None:
            group = self._groups[message.group] = _Group(message.group)
        heapq.heappush(group.waiting, (message.serial, message))
        self._let_in_line(group)

    def _next(self) -> StoredMessage | None:
        while True:
            group = self._served
            if group is not None:
                if group.oldest_waiting() < self._served_below:
                    return heapq.heappop(group.waiting)[1]
                self._stop_serving()
            if not self._free_groups:
                return None
            group = self._served = self._free_groups.popleft()
            self._served_below = group.oldest_in_flight()

    def _stop_serving(self) -> None:
        group = self._served
        if group is not None:
            self._served = None
            group.in_line = False
            self._let_in_line(group)

    def _give_out(self, message: StoredMessage, now: float, hidden: int) -> None:
        super()._give_out(message, now, hidden)
        heapq.heappush(self._groups[message.group].flying, (message.serial, message.turn, message))

    def _left_flight(self, message: StoredMessage) -> None:
        self._let_in_line(self._groups[message.group])

    def _let_in_line(self, group: _Group) -> None:
        if group.in_line:
            return
        waiting = group.oldest_waiting()
        flying = group.oldest_in_flight()
        if waiting < flying:
            group.in_line = True
            self._free_groups.append(group)
        elif waiting == flying:  # there is neither
            self._groups.pop(group.name, None)
