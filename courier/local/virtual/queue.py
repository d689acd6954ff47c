"""A standard queue in memory: its operations for those who send and receive. Its caller provides the time."""

from __future__ import annotations

import random
from typing import Final, NamedTuple

from courier.local.virtual.account import HOME_REGION, arn_of
from courier.local.virtual.errors import invalid_parameter, not_available, receipt_is_invalid
from courier.local.virtual.message_store import MessageStore
from courier.local.virtual.receipts import Receipts
from courier.local.virtual.settings import QueueSettings
from courier.local.virtual.stored import IN_FLIGHT, StoredMessage

IN_FLIGHT_LIMIT: Final = 120_000
MAX_VISIBILITY_SECONDS: Final = 43_200


class Accepted(NamedTuple):
    """The answer to a sent message; ``sequence`` is empty on a standard queue."""

    message_id: str
    sequence: str


class Redrive(NamedTuple):
    """The queue to which a message moves that was received ``max_receives`` times and not deleted."""

    target: VirtualQueue
    max_receives: int


class VirtualQueue(MessageStore):
    """A standard queue. ``now`` is the caller's clock in seconds, and must not go back from one call to the next."""

    fifo = False

    def __init__(self, name: str, region: str, settings: QueueSettings, created: float) -> None:
        super().__init__(settings)
        self.name: Final = name
        self.region: Final = region
        self.created: Final = created
        self.modified = created
        self.redrive: Redrive | None = None
        self.tags: dict[str, str] = {}
        self.deleted = False
        self.in_flight_limit = IN_FLIGHT_LIMIT
        self._receipts = Receipts()

    @property
    def arn(self) -> str:
        """The ARN of the queue."""
        return self.arn_in(HOME_REGION)

    def arn_in(self, region: str) -> str:
        """Return the ARN of the queue as a client in a region sees it: a queue of all regions is in the client's."""
        return arn_of(self.name, self.region or region or HOME_REGION)

    def has_receivable(self, now: float) -> bool:
        """Return whether a receive would find something."""
        self._surface(now)
        return self._visible > 0 and self._in_flight < self.in_flight_limit

    def refuses_short_poll(self, now: float) -> bool:
        """Return whether so many messages are in flight that SQS answers a short poll with OverLimit."""
        self._surface(now)
        return self._in_flight >= self.in_flight_limit

    def receipt(self, message: StoredMessage) -> str:
        """Return the receipt handle of the latest receive of a message."""
        return self._receipts.write(message.serial, message.turn)

    def sequence(self, message: StoredMessage) -> str:
        """Return the sequence number of a message, which is empty on a standard queue."""
        return ""

    def send(self, message: StoredMessage, now: float, delay: int | None = None) -> Accepted:
        """Accept a new message, and hide it for ``delay`` seconds (``None``: the queue's own delay)."""
        self._surface(now)
        message.message_id = _new_message_id()
        message.sent = now
        self._store(message, now, self.settings.delay if delay is None else delay)
        return Accepted(message.message_id, self.sequence(message))

    def restore(self, message: StoredMessage, now: float) -> None:
        """Accept a message that already has its id, and the time at which it was sent."""
        self._surface(now)
        self._store(message, now, 0)

    def receive(self, count: int, now: float, visibility: int | None = None) -> list[StoredMessage]:
        """Hand out up to ``count`` visible messages, hidden for ``visibility`` seconds (``None``: the queue's own).

        A message that was received as often as the redrive policy allows moves to the dead-letter queue instead.
        """
        self._surface(now)
        hidden = self.settings.visibility if visibility is None else visibility
        too_old = now - self.settings.retention
        count = min(count, self.in_flight_limit - self._in_flight)
        taken: list[StoredMessage] = []
        while len(taken) < count:
            message = self._next()
            if message is None:
                break
            if message.sent <= too_old:
                self._remove(message)
            elif not self._moved_away(message, now):
                self._give_out(message, now, hidden)
                taken.append(message)
        return taken

    def delete(self, receipt: str, now: float) -> None:
        """Delete the message of a receipt handle.

        An old handle, or the handle of a message that is gone, is accepted without an effect, as SQS may do. Raise
        ServiceError if the handle isn't one of this queue.
        """
        self._surface(now)
        message, newest = self._find(receipt)
        if message is not None and newest:
            self._remove(message)

    def change_visibility(self, receipt: str, timeout: int, now: float) -> None:
        """Hide a received message for ``timeout`` seconds from now; 0 shows it immediately.

        This also works for a message that has become visible again, and with an old handle, as observed with SQS: a
        late call hides the message needlessly. Raise ServiceError if the message is gone, or if it would be hidden for
        more than 12 hours since its latest receive.
        """
        self._surface(now)
        message, _ = self._find(receipt)
        if message is None:
            raise not_available(receipt)
        if now + timeout - message.received > MAX_VISIBILITY_SECONDS:
            reason = f"Total VisibilityTimeout for the message is beyond the limit [{MAX_VISIBILITY_SECONDS} seconds]"
            raise invalid_parameter("VisibilityTimeout", timeout, reason)
        if timeout > 0:
            self._hide_again(message, now + timeout)
        elif message.state == IN_FLIGHT:
            self._make_visible(message)
            self._leave_stale_entry()

    def accept_dead_letter(self, message: StoredMessage, source: VirtualQueue, now: float) -> None:
        """Take over a message from the queue in which it failed. The time at which it was sent stays the same."""
        self._surface(now)
        twin = message.copy()
        twin.source = source
        twin.earlier_receives = message.receive_count
        twin.turn = 0
        twin.in_line = False
        self._store(twin, now, 0)
        self._expiry_check = min(self._expiry_check, twin.sent + self.settings.retention)

    def oldest(self, now: float) -> StoredMessage | None:
        """Return the message that a receive would give next. It stays where it is."""
        self._surface(now)
        too_old = now - self.settings.retention
        while (message := self._next()) is not None:
            if message.sent > too_old:
                self._line_up(message)
                return message
            self._remove(message)
        return None

    def discard(self, message: StoredMessage) -> None:
        """Delete a message that :meth:`oldest` returned."""
        self._remove(message)

    def accept_moved(self, message: StoredMessage, now: float) -> None:
        """Accept a new message with the content of another queue's, with no regard to its deduplication id."""
        VirtualQueue.send(self, message.renewed(), now)

    def _moved_away(self, message: StoredMessage, now: float) -> bool:
        redrive = self.redrive
        if redrive is None or redrive.target.deleted:
            return False
        if message.receive_count - message.earlier_receives < redrive.max_receives:
            return False
        redrive.target.accept_dead_letter(message, self, now)
        self._remove(message)
        return True

    def _find(self, receipt: str) -> tuple[StoredMessage | None, bool]:
        """Return the message of a receipt handle, ``None`` if it is gone, and whether the handle is its latest."""
        serial, turn = self._receipts.read(receipt)
        if serial > self._serial or turn > self._turn:
            raise receipt_is_invalid(receipt)
        message = self._live.get(serial)
        return message, message is not None and message.turn == turn


def _new_message_id() -> str:
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
