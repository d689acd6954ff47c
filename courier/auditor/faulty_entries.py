"""The detection of batch entries that are themselves at fault: they fail alone while others succeed."""

from __future__ import annotations

from typing import Final

STRIKES: Final = 5
"""Failures of a single entry, each after another entry succeeded, that prove it at fault."""

MOST: Final = 10_000
"""Maximum number of suspects. Beyond it all are forgotten, which only delays the proof."""


class Suspects:
    """Tracks entries that failed alone.

    A failure counts only after another entry has succeeded; otherwise all entries may fail for the same reason.
    """

    def __init__(self) -> None:
        """Start without suspects."""
        self._passes = 0
        # By receipt: the strikes, and the number of passes at the last failure.
        self._strikes: dict[str, tuple[int, int]] = {}

    def __bool__(self) -> bool:
        """Return whether there is a suspect."""
        return bool(self._strikes)

    def __contains__(self, receipt: str) -> bool:
        """Return whether the entry of this receipt is suspected."""
        return receipt in self._strikes

    def suspect(self, receipt: str) -> None:
        """Suspect an entry that failed together with others."""
        if len(self._strikes) >= MOST:
            self._strikes.clear()
        self._strikes.setdefault(receipt, (0, self._passes))

    def failed_alone(self, receipt: str) -> bool:
        """Record that an entry failed alone. If it is proven at fault, forget it and return ``True``."""
        self.suspect(receipt)
        strikes, passes = self._strikes[receipt]
        if self._passes > passes:
            strikes += 1
        if strikes >= STRIKES:
            del self._strikes[receipt]
            return True
        self._strikes[receipt] = strikes, self._passes
        return False

    def passed(self, *receipts: str) -> None:
        """Record that a call succeeded. Its entries are no longer suspects, whatever their results."""
        self._passes += 1
        if self._strikes:
            for receipt in receipts:
                self._strikes.pop(receipt, None)
