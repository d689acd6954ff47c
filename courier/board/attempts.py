"""Attempts to deliver, as senders show them while somebody taps: a sample of the successes, and the failures.

``courier tap`` and GET /tap read them. The word TAP_UNTIL of the API's slot says until when somebody does, so nothing
is written when nobody taps, and senders stop by themselves when the API dies.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from courier.audit.record import rfc3339
from courier.log.printable import replaced
from courier.process.ring import MOST_BYTES

API: Final = "api"
ID_CHARACTERS: Final = 100
OUTCOME_CHARACTERS: Final = 80


class Attempt(NamedTuple):
    """One attempt. ``at_ms`` is its end in Unix milliseconds, ``status`` ``None`` without an answer.

    ``attempt`` counts the receives of the message and the further attempts within this one. ``outcome`` says what
    became of the message. ``skipped`` is how many attempts this sender hasn't shown since the one before.
    """

    at_ms: int
    message_id: str
    attempt: int
    status: int | None
    seconds: float
    outcome: str
    is_failure: bool
    skipped: int = 0
    skipped_failures: int = 0

    def pack(self) -> bytes:
        """Return it as a record; what is too long is cut."""
        message_id, outcome = replaced(self.message_id), replaced(self.outcome)
        for most_id, most_outcome in ((ID_CHARACTERS, OUTCOME_CHARACTERS), (36, 20)):
            short = self._replace(
                message_id=message_id[:most_id], outcome=outcome[:most_outcome], seconds=round(self.seconds, 4)
            )
            if len(record := orjson.dumps([*short])) <= MOST_BYTES:
                return record
        return orjson.dumps([*short._replace(message_id="", outcome="")])

    def as_line(self, sender: int) -> dict[str, Any]:
        """Return it as the API shows it."""
        return {
            "time": rfc3339(self.at_ms),
            "message_id": self.message_id,
            "attempt": self.attempt,
            "status": self.status,
            "seconds": self.seconds,
            "outcome": self.outcome,
            "failed": self.is_failure,
            "sender": sender,
        }


def unpack(record: bytes) -> Attempt:
    """Return the attempt in a record of :meth:`Attempt.pack`."""
    return Attempt(*orjson.loads(record))
