"""The options of the processes: how many there are, and when they are stopped or replaced."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from courier.config.option import DAY, option
from courier.config.units import number, seconds

SPARE_SENDERS: Final = 16
"""Senders that can be added to those of the start."""

SPARE_OF_ROUTE: Final = 4
"""Senders that can be added to those of a route."""

SPARE_CONSUMERS: Final = 8
"""Consumers that can be added to those of the start."""

_option = partial(option, "Processes")


@dataclass(frozen=True, kw_only=True)
class ProcessesConfig:
    """The options of the processes."""

    senders: int = _option(4, "--senders", number(1, 256), "Number of processes that deliver.")
    concurrency: int = _option(16, "--concurrency", number(1, 4096), "Maximum attempts in flight in each sender.")
    consumers: int = _option(2, "--consumers", number(1, 256), "Number of processes that receive.")
    drain_timeout_seconds: float = _option(
        30.0, "--drain-timeout", seconds(0, DAY), "Time to finish work in progress after SIGTERM or SIGINT."
    )
    hang_timeout_seconds: float = _option(
        10.0,
        "--hang-timeout",
        seconds(1, DAY),
        "Time after which a process that hangs is replaced.",
        "A process hangs if its event loop has stopped.",
    )
