"""The step before a POST: makes the request of a message whose body, path or format isn't that of the message.

Without an option that asks for such a step a sender has none, and pays nothing for it.
"""

from __future__ import annotations

from typing import Protocol

from courier.sender.slots import Attempt, HeldPacket


class Preparation(Protocol):
    """Prepares and sends the message whose turn it is."""

    def send(self, packet: HeldPacket) -> Attempt:
        """Prepare the message, render its head and send it; ``packet.content`` becomes what is sent.

        ``packet.answered`` is called exactly once with the result, and never from inside this call. A message that
        can't be sent ends as a Failure with a reason of :mod:`courier.recipient.content`.
        """
