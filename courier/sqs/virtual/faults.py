"""Faults that a test can have the virtual queue show. No client can ask for one."""

from __future__ import annotations

from courier.sqs.virtual.errors import ServiceError
from courier.sqs.virtual.parameters import Parameters


class Faults:
    """The faults of a queue that has none; override what shall go wrong.

    A fault comes before the effect: what is answered with an error was not done.
    """

    def call(self, action: str, parameters: Parameters) -> ServiceError | None:
        """Return the error with which to answer a whole call, or ``None``."""
        return None

    def entry(self, action: str, entry: Parameters) -> ServiceError | None:
        """Return the error with which to answer one entry of a batch call, or ``None``."""
        return None

    def latency(self, action: str) -> float:
        """Return the seconds to wait before a call is looked at."""
        return 0.0
