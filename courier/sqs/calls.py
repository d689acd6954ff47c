"""The calls of a queue that each role makes. :class:`courier.sqs.client.SqsClient` makes all of them, and says how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from courier.sqs.batch import EntryFailure, Outgoing
from courier.sqs.received import Received


class Closable(Protocol):
    """A client that is closed by the process that made it."""

    def close(self) -> None:
        """Cancel the calls under way."""


class ReceiveClient(Closable, Protocol):
    """What a consumer calls. A call that fails as a whole raises SqsError."""

    async def receive(
        self, count: int, wait_time_seconds: int, visibility_timeout: int, /, *, attempt_id: str | None = None
    ) -> Received:
        """Receive up to ``count`` messages; see :meth:`courier.sqs.client.SqsClient.receive`."""


class SettleCalls(Protocol):
    """The calls that settle messages. A call that fails as a whole raises SqsError."""

    async def delete(self, receipts: Sequence[str], /) -> list[EntryFailure | None]:
        """Delete messages by receipt handle; return the results in the order of the receipts."""

    async def change_visibility(self, entries: Sequence[tuple[str, int]], /) -> list[EntryFailure | None]:
        """Change visibility timeouts (seconds from now); return the results in the order of the entries."""


class SettleClient(SettleCalls, Closable, Protocol):
    """What the auditor calls to settle messages."""


class SendClient(Closable, Protocol):
    """What the auditor calls to send messages to a failure queue. A call that fails as a whole raises SqsError."""

    async def send(self, messages: Sequence[Outgoing], /) -> list[EntryFailure | None]:
        """Send messages; return the results in their order."""
