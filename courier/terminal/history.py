"""The last minutes of a few figures, one number a second, for sparklines."""

from __future__ import annotations

from collections import deque
from typing import Final

from courier.terminal.report import Report

LENGTH: Final = 300
NAMES: Final = ("delivered", "failed", "p50", "p90", "p99", "waiting")


class History:
    """The last five minutes of each figure of :data:`NAMES`, as the program sampled them or as it answered since."""

    def __init__(self) -> None:
        self._series: dict[str, deque[float | None]] = {name: deque(maxlen=LENGTH) for name in NAMES}

    def seed(self, samples: Report) -> None:
        """Begin with the samples of the program, the answer of /status/samples."""
        for name in NAMES:
            if numbers := samples.numbers("second", "series", name):
                self._series[name] = deque(numbers, maxlen=LENGTH)

    def add(self, report: Report, seconds: float) -> None:
        """Add what /status says now; ``seconds`` have passed since the last time."""
        now = current(report)
        for name in NAMES:
            self._series[name].extend([now[name]] * max(1, min(LENGTH, round(seconds))))

    def miss(self, seconds: float) -> None:
        """Note that nothing is known of the last ``seconds``."""
        for series in self._series.values():
            series.extend([None] * min(LENGTH, round(seconds)))

    def of(self, name: str) -> list[float | None]:
        """Return the numbers of a figure, the newest last."""
        return list(self._series[name])


def current(report: Report) -> dict[str, float | None]:
    """Return the figures of this second; what isn't known is ``None``."""
    rates = report.at("rates", "1s")
    times = report.at("latency", "10s", "delivery")
    failed = [number for name in ("retried", "rejected") if (number := rates.number(name)) is not None]
    return {
        "delivered": rates.number("delivered"),
        "failed": sum(failed) if failed else None,
        **{name: times.number(name) for name in ("p50", "p90", "p99")},
        "waiting": report.number("queue", "waiting"),
    }
