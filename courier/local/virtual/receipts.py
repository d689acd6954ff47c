"""Receipt handles: opaque to clients, as long as those of SQS, and cheap to parse."""

from __future__ import annotations

import base64
import os
from typing import Final

from courier.local.virtual.errors import receipt_is_invalid

DIGITS: Final = 12


class Receipts:
    """The receipt handles of one queue, which no other queue accepts."""

    def __init__(self) -> None:
        self._head = "AQEB" + base64.b64encode(os.urandom(117)).decode("ascii")

    def write(self, serial: int, turn: int) -> str:
        """Return the handle for receive ``turn`` of message ``serial``."""
        return f"{self._head}{serial:012x}{turn:012x}"

    def read(self, receipt: str) -> tuple[int, int]:
        """Return a handle's serial and turn. Raise ServiceError if it isn't one of this queue."""
        head = self._head
        numbers = receipt[len(head) :]
        if receipt.startswith(head) and len(numbers) == 2 * DIGITS:
            try:
                return int(numbers[:DIGITS], 16), int(numbers[DIGITS:], 16)
            except ValueError:
                pass
        raise receipt_is_invalid(receipt)
