"""The faults that a test can make the virtual queue show. Clients can't request them."""

from __future__ import annotations

from courier.local.virtual.errors import ServiceError
from courier.local.virtual.parameters import Parameters


class Faults:
    """The faults of a flawless queue. Override the methods for faults.

    A fault comes before the effect: an action answered with an error was not performed.
    """

    def call(self, action: str, parameters: Parameters) -> ServiceError | None:
        """Return the error that answers a whole call, or ``None``."""
        return None

    def entry(self, action: str, entry: Parameters) -> ServiceError | None:
        """Return the error that answers one entry of a batch call, or ``None``."""
        return None

    def latency(self, action: str) -> float:
        """Return the seconds to wait before a call is processed."""
        return 0.0
