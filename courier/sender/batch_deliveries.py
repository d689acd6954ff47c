"""The deliveries of a sender that sends batches: one answer concludes many messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from courier.http.answer import Answer, Failure
from courier.recipient.policy import is_success
from courier.sender.deliveries import Deliveries
from courier.sender.slots import HeldPacket


class BatchDeliveries(Deliveries):
    """One sender's deliveries in batches. A batch may hold several messages of a run, in order."""

    def __init__(self, *parts: Any) -> None:
        """Take the parts of :class:`courier.sender.deliveries.Deliveries`."""
        super().__init__(*parts)
        self._concluding: HeldPacket | None = None
        self._ahead: deque[Answer | Failure] = deque()

    def conclude_messages(self, packet: HeldPacket, results: Sequence[Answer | Failure], *, is_echo: bool) -> None:
        """Turn results into the outcomes of the message whose turn it is and of those after it, in order.

        Only the last result may be a failure. ``is_echo`` is as in :meth:`courier.sender.failures.Failures.handle`.
        """
        self._concluding = packet
        self._ahead.extend(results[1:])
        try:
            self._conclude(packet, results[0], is_echo=is_echo)
        finally:
            self._concluding = None
            self._ahead.clear()

    def conclude(self, packet: HeldPacket, answer: Answer | Failure) -> None:
        """Turn the answer into the outcome of the message, and continue with the next message."""
        self._conclude(packet, answer, is_echo=False)

    def _conclude(self, packet: HeldPacket, answer: Answer | Failure, *, is_echo: bool) -> None:
        if is_success(answer, self._rules):
            super().conclude(packet, answer)
            return
        self._ahead.clear()
        if self._is_watched:
            self._show_attempt(packet.message, packet, answer)
        self._failures.handle(packet, answer, is_echo=is_echo)

    def next_message(self, packet: HeldPacket) -> None:
        """Advance to the next message of a run, which may have its result already, or free the slot."""
        if packet is not self._concluding or not self._ahead:
            super().next_message(packet)
            return
        packet.position += 1
        packet.failing = None
        self.conclude(packet, self._ahead.popleft())
