"""The options of retries and limits: what an answer means, when a message is tried again, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from courier.config.checks import check_at_most, check_queue_name, refuse
from courier.config.option import DAY, LONGEST_VISIBILITY, option
from courier.config.units import SHARE, STATUSES, TEXT, YES_NO, number, or_off, per_second, seconds
from courier.recipient.policy import DEFAULT_REJECT, DEFAULT_RETRY, DEFAULT_SUCCESS, AnswerRules, parse_statuses

_option = partial(option, "Retries and limits")


@dataclass(frozen=True, kw_only=True)
class LimitsConfig:
    """The options of retries and limits."""

    failure_queue: str = _option(
        "", "--failure-queue", TEXT, "Name or URL of the queue for rejected messages.", may_hold_secret=True
    )
    max_receives: int = _option(
        0,
        "--max-receives",
        or_off(number(0, 1000), 0),
        "Receive count at which a message is rejected.",
        "A message that fails at this receive count moves to --failure-queue. 0: never.",
    )
    rate_limit: float | None = _option(
        None, "--rate-limit", or_off(per_second(1_000_000)), "Maximum attempts started per second, across all senders."
    )
    max_in_flight: int | None = _option(
        None, "--max-in-flight", or_off(number(1, 1_000_000)), "Maximum attempts in flight, across all senders."
    )
    adaptive: bool = _option(
        False,
        "--adaptive",
        YES_NO,
        "Adapt concurrency to latency and errors.",
        "The attempts in flight in each sender follow the recipient's latency and errors, from 1 to --concurrency.",
    )
    success: str = _option(DEFAULT_SUCCESS, "--success", STATUSES, "Statuses that mean success.")
    retry: str = _option(
        DEFAULT_RETRY,
        "--retry",
        STATUSES,
        "Statuses that cause a retry.",
        "Courier also retries if there is no answer, or if the status is on none of the three lists.",
    )
    reject: str = _option(
        DEFAULT_REJECT,
        "--reject",
        STATUSES,
        "Statuses that reject a message.",
        "Courier moves a rejected message to --failure-queue. Without a --failure-queue, Courier retries it.",
    )
    backoff_base_seconds: float = _option(
        1.0,
        "--backoff-base",
        seconds(0.001, LONGEST_VISIBILITY),
        "Maximum delay before the first retry.",
        "The maximum doubles with each receive, up to --backoff-cap.",
    )
    backoff_cap_seconds: float = _option(
        900.0, "--backoff-cap", seconds(0.001, LONGEST_VISIBILITY), "Maximum delay before any retry."
    )
    retry_delay_seconds: float | None = _option(
        None,
        "--retry-delay",
        or_off(seconds(0, LONGEST_VISIBILITY)),
        "Fixed delay before every retry, instead of back-off.",
    )
    breaker_threshold: int = _option(
        10,
        "--breaker-threshold",
        or_off(number(0, 100_000), 0),
        "Consecutive failures that open the breaker.",
        "Connection errors, timeouts, 5xx and 429 count as failures. 0: the breaker never opens.",
    )
    breaker_cool_down_seconds: float = _option(
        1.0,
        "--breaker-cool-down",
        seconds(0.1, DAY),
        "Minimum time between probes of an open breaker.",
        "In a long outage the time grows to one sixtieth of the outage, up to 8 seconds.",
    )
    breaker_longest_cool_down_seconds: float = _option(
        60.0,
        "--breaker-longest-cool-down",
        seconds(0.1, DAY),
        "Upper limit of the time between probes.",
        "The pauses that the recipient asks for with Retry-After have the same limit.",
    )
    reject_share: float = _option(
        0.5,
        "--reject-share",
        or_off(SHARE, 0.0),
        "Share of refusals that stops receiving.",
        "Courier stops at this share, so that a recipient that refuses everything doesn't drain the queue. 0: never.",
    )
    reject_window_seconds: float = _option(
        60.0, "--reject-window", seconds(1, DAY), "Period over which --reject-share is measured."
    )

    def _check_limits(self) -> None:
        if not self.rules.success:
            refuse("--success", "must hold at least one status, like 200: otherwise nothing is ever delivered")
        if self.max_receives and not self.failure_queue:
            refuse("--max-receives", "needs a --failure-queue to move messages to")
        if self.failure_queue:
            check_queue_name("--failure-queue", self.failure_queue)
        check_at_most(
            "--breaker-cool-down",
            self.breaker_cool_down_seconds,
            "--breaker-longest-cool-down",
            self.breaker_longest_cool_down_seconds,
        )
        check_at_most("--backoff-base", self.backoff_base_seconds, "--backoff-cap", self.backoff_cap_seconds)

    @property
    def rules(self) -> AnswerRules:
        """What each status means."""
        return AnswerRules.of(*map(parse_statuses, (self.success, self.retry, self.reject)))
