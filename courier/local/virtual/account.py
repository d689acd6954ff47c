"""The account that owns all queues of the virtual SQS."""

from __future__ import annotations

from typing import Final

ACCOUNT: Final = "000000000000"
