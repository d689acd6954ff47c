"""Legal options of Courier, drawn by chance, under which every message can still be delivered within a round."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

from scripts.faults.draw import Draw, one_of, seldom

DRAWN: Final[Mapping[str, Draw]] = {
    # Each is a process, and the machine may have only two cores.
    "--consumers": one_of(1, 2, 3, 4),
    "--senders": one_of(1, 2, 3, 4),
    "--concurrency": one_of(2, 8, 16, 64),
    "--batch-size": one_of(1, 3, 10, 10),
    "--wait-time": one_of(0, 1, 5, 20),
    "--poll-interval": one_of(0, 0, 0.05),
    "--hang-timeout": one_of(5, 10, 30),
    "--breaker-threshold": one_of(1, 3, 10, 100, None),
    "--breaker-cool-down": one_of(0.2, 0.5, 1),
    # The default is a minute. By then the load would be over, with nothing left to judge.
    "--breaker-longest-cool-down": one_of(1, 2, 5),
    "--max-in-flight": seldom(4, 16, 100),
    "--rate-limit": seldom(300, 1000),
    "--adaptive": seldom(True),
    "--reject-share": one_of(0.5, None),
    "--retry-delay": seldom(0, 0.5, 1),
    "--backoff-base": one_of(0.01, 0.1, 1),
    "--backoff-cap": one_of(1, 2, 5),
    "--success": seldom("200"),
    "--audit-format": seldom("json", "text"),
    "--audit-body": one_of("full", "sha256", "none", None),
    "--audit-max-bytes": one_of(4096, 100_000, None),
    "--audit-max-age": one_of(1, 3600, None),
    "--transport": one_of("native", "native", "native", "requests"),
    "--attribute-headers": one_of("prefixed", "none", None),
    "--header": seldom("X-Queue: {queue}"),
    "--receipt-header": seldom("X-Receipt"),
    "--timeout": one_of(2, 3, 10),
    "--connect-timeout": one_of(1, 2),
    "--drain-timeout": one_of(30, 45),
    "--log-format": seldom("json"),
}
"""How each option is drawn; None leaves it out. The others would need other servers or files, or another oracle."""

WIDE: Final[dict[str, Any]] = {"--consumers": 8, "--senders": 16}
"""Process counts that people choose. Most of these processes have nothing to do, and sleep."""

WIDE_SHARE: Final = 0.2

STEP_SECONDS: Final = 0.04
"""Seconds for a call to SQS, or for a message of a group besides its answer: generous, for a busy machine."""


def draw_options(chance: random.Random, visibility: int, *, firehose: bool) -> dict[str, Any]:
    """Draw the options, None for those that are left out."""
    options: dict[str, Any] = {flag: draw(chance) for flag, draw in DRAWN.items()}
    if chance.random() < WIDE_SHARE:
        options |= WIDE
    if firehose:
        for flag in ("--audit-format", "--audit-body", "--audit-max-bytes", "--audit-max-age"):
            options[flag] = None
    # An attempt that may outlast the lease is legal, and is renewed; most programs aren't run that way.
    if chance.random() < 0.5:
        options["--timeout"] = min(options["--timeout"], visibility)
    return options


def capacity(options: Mapping[str, Any], groups: int, answer_seconds: float) -> float:
    """Return how many messages a second one program can do with these options, in groups unless there are none."""
    slots = options["--senders"] * options["--concurrency"]
    slots = min(slots, options["--max-in-flight"] or slots, groups or slots)
    receives = options["--consumers"] / (options["--poll-interval"] + STEP_SECONDS)
    limits = slots / (answer_seconds + STEP_SECONDS), receives * options["--batch-size"], options["--rate-limit"]
    return float(min(limit for limit in limits if limit is not None))


def flags(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return options as they are given on the command line."""
    given: list[str] = []
    for flag, value in options.items():
        if value is True:
            given.append(flag)
        elif value is not None:
            given += [flag, str(value)]
    return tuple(given)
