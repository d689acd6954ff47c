"""The schedule of log lines about an outage of one kind of call. Pure: the clocks are passed in.

A line is due when the outage begins, when its reason changes, and then once a minute with the count. So a long outage
stays visible in the log without filling the disk.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

EVERY_SECONDS: Final = 60.0
"""Seconds between two lines about an outage with the same reason."""

SOONEST_SECONDS: Final = 10.0
"""Minimum seconds between two lines, because an unstable connection starts one outage after another."""

NEVER: Final = "never since the start"


class Outage:
    """One process's record of one kind of call. ``now`` is monotonic seconds, ``unix_now`` the same as Unix time."""

    __slots__ = ("_code", "_is_logged", "_logged_at", "_worked_at", "failures")

    def __init__(self) -> None:
        self.failures = 0
        self._code = ""
        self._is_logged = False
        self._logged_at: float | None = None
        self._worked_at: float | None = None

    def failed(self, code: str, now: float, unix_now: float) -> dict[str, object] | None:
        """Record a failure with the reason ``code``. Return the fields of a log line if one is due."""
        self.failures += 1
        is_news = not self._is_logged or code != self._code
        pause = SOONEST_SECONDS if is_news else EVERY_SECONDS
        if self._logged_at is not None and now - self._logged_at < pause:
            return None
        self._code, self._logged_at, self._is_logged = code, now, True
        worked = None if self._worked_at is None else unix_now - (now - self._worked_at)
        return {"failures": self.failures, "last_worked": NEVER if worked is None else _date(worked)}

    def worked(self, now: float) -> int:
        """Record a success. Return the failures before it if they were logged, so that the caller logs the end."""
        self._worked_at = now
        if not self.failures:
            return 0
        failures = self.failures if self._is_logged else 0
        self.failures, self._is_logged = 0, False
        return failures


def _date(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
