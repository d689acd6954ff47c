"""The metrics: read from the scoreboard at each scrape. docs/metrics.md says what each means.

A slot keeps its counters when its worker is replaced, so nothing falls back to zero but with the whole program. Every
set of labels is bounded, and all of its series are there from the start, with zeros: a rate needs two points.
"""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from courier import __version__
from courier.api.observed import Observed
from courier.api.readiness import draining, not_ready
from courier.api.status import STATES
from courier.process import scoreboard
from courier.process.scoreboard import AGE_BOUNDS, EMPTY, LATENCY_BOUNDS, SUPERVISOR
from courier.tally import ACTIONS, REASONS, RESULTS

PREFIX: Final = "courier_"


class Counter(NamedTuple):
    """A counter that is the sum of one word."""

    name: str
    word: int
    help: str


COUNTERS: Final = (
    Counter("received", scoreboard.RECEIVED, "Messages received from SQS."),
    Counter("corrupt", scoreboard.CORRUPT, "Messages received whose body isn't what its MD5 says; left to SQS."),
    Counter("delivered", scoreboard.DELIVERED, "Messages that the recipient took."),
    Counter("released", scoreboard.RELEASED, "Messages given back to SQS untried."),
    Counter("recorded", scoreboard.RECORDED, "Audit records made durable."),
    Counter("records_lost", scoreboard.RECORDS_LOST, "Messages deleted without their record, under best-effort."),
    Counter("audit_failures", scoreboard.AUDIT_FAILURES, "Writes to the audit log, trials included, that failed."),
    Counter("deleted", scoreboard.DELETED, "Messages deleted from SQS."),
    Counter("visibility_changed", scoreboard.CHANGED, "Messages given back to SQS, with a delay or without."),
    Counter("extended", scoreboard.EXTENDED, "Extensions of a message's visibility timeout."),
    Counter("lapsed", scoreboard.LAPSED, "Outcomes dropped since the message's lease was over."),
    Counter("expired", scoreboard.EXPIRED, "Messages still held when their 12 hours since the receive were over."),
    Counter("stale", scoreboard.STALE, "Receipts that SQS no longer took when they were to be settled."),
    Counter("cut", scoreboard.CUT, "Deliveries cut at the end of a drain."),
    Counter("unsettled", scoreboard.UNSETTLED, "Outcomes left unsettled at the end of a drain."),
    Counter("breaker_openings", scoreboard.OPENINGS, "Times that the circuit breaker opened, after failed probes too."),
    Counter("dropped_headers", scoreboard.DROPPED_HEADERS, "Message attributes that can't be a header."),
)

CAUSES: Final = (
    ("exit", scoreboard.RESTARTS_EXIT),
    ("signal", scoreboard.RESTARTS_SIGNAL),
    ("hung", scoreboard.RESTARTS_HUNG),
)


class BoardCollector(Collector):
    """Gives every metric of the program, for a registry of prometheus_client."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._board = observed.board

    def collect(self) -> Iterator[Metric]:
        """Read the board."""
        yield from self._program()
        for counter in COUNTERS:
            yield _one(CounterMetricFamily, counter.name, counter.help, self._board.total(counter.word))
        yield self._by_reason("retried", scoreboard.RETRIED_BY, "Deliveries that failed, to be tried again, by reason.")
        yield self._by_reason("rejected", scoreboard.REJECTED_BY, "Messages that no further try would help, by reason.")
        yield from self._calls()
        yield from self._recipient()
        yield from self._moment()
        yield from self._histograms()
        yield from self._workers()

    def _program(self) -> Iterator[Metric]:
        now, board = time.monotonic(), self._board
        build = _gauge("build_info", "What runs; always 1.", ["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield build
        started = board.supervisor.reals[scoreboard.STARTED]
        yield _one(GaugeMetricFamily, "start_time_seconds", "When the program started, Unix time.", _unix(started, now))
        ready = not not_ready(self._observed, now)
        yield _one(GaugeMetricFamily, "ready", "1 while GET /status/ready says so.", ready)
        yield _one(GaugeMetricFamily, "draining", "1 while the program stops.", draining(board))
        failing = board.total(scoreboard.AUDIT_FAILING) > 0
        yield _one(GaugeMetricFamily, "audit_failing", "1 while the audit log can't be written.", failing)
        last = max((slot.reals[scoreboard.LAST_RECEIVE] for slot in board.slots("consumer")), default=0.0)
        text = "When SQS last answered a receive, Unix time; 0 before the first."
        yield _one(GaugeMetricFamily, "last_receive_timestamp_seconds", text, _unix(last, now) if last else 0)

    def _recipient(self) -> Iterator[Metric]:
        told = self._observed.recipient(time.monotonic())
        text = "The circuit breaker: 0 closed, 1 open, 2 half-open."
        yield _one(GaugeMetricFamily, "breaker_state", text, told.state)
        text = "Seconds left of the pause that the recipient asked for; 0 for none."
        yield _one(GaugeMetricFamily, "paused_seconds", text, told.paused)

    def _moment(self) -> Iterator[Metric]:
        board = self._board
        for name, word, text in (
            ("asked", scoreboard.ASKED, "Messages asked for in the receives that are under way."),
            ("limit", scoreboard.LIMIT, "Deliveries that the senders may have in flight now."),
            ("in_flight", scoreboard.IN_FLIGHT, "Messages (on a FIFO queue: runs) that senders hold."),
            ("held", scoreboard.HELD, "Receipts that the auditor holds unsettled."),
            ("held_bytes", scoreboard.HELD_BYTES, "Bytes of records and letters that wait in the auditor."),
        ):
            yield _one(GaugeMetricFamily, name, text, board.total(word))
        depth = _gauge("channel_depth", "What waits between two stages: messages (runs), or outcomes.", ["channel"])
        size = _gauge("channel_bytes", "Bytes that wait between two stages.", ["channel"])
        for channel, waiting in self._observed.depths().items():
            depth.add_metric([channel], waiting.waiting)
            size.add_metric([channel], waiting.bytes)
        yield from (depth, size)

    def _by_reason(self, name: str, area: int, text: str) -> Metric:
        family = _counter(name, text, ["reason"])
        for reason, count in zip(REASONS, self._board.totals(area), strict=False):
            family.add_metric([reason], count)
        return family

    def _calls(self) -> Iterator[Metric]:
        calls = _counter("sqs_calls", "Requests to SQS that ended, failed ones too.", ["action"])
        errors = _counter("sqs_errors", "Requests to SQS that failed.", ["action", "code"])
        counts = self._board.totals(scoreboard.CALLS)
        for action, start in zip(ACTIONS, itertools.count(0, len(RESULTS)), strict=False):
            those = counts[start : start + len(RESULTS)]
            calls.add_metric([action], sum(those))
            for result, count in zip(RESULTS[1:], those[1:], strict=True):
                errors.add_metric([action, result], count)
        yield from (calls, errors)

    def _histograms(self) -> Iterator[Metric]:
        for name, area, total, bounds, text in (
            (
                "delivery_seconds",
                scoreboard.LATENCY,
                scoreboard.LATENCY_SUM,
                LATENCY_BOUNDS,
                "Time of an attempt to deliver, from the request until its outcome, failed ones too.",
            ),
            (
                "end_to_end_seconds",
                scoreboard.AGE,
                scoreboard.AGE_SUM,
                AGE_BOUNDS,
                "Age of a message when the recipient took it, counted from when it was sent to SQS.",
            ),
            (
                "audit_sync_seconds",
                scoreboard.SYNC,
                scoreboard.SYNC_SUM,
                LATENCY_BOUNDS,
                "Time to make a group of audit records durable.",
            ),
        ):
            buckets = _cumulative(bounds, self._board.totals(area))
            family = HistogramMetricFamily(PREFIX + name, text)
            family.add_metric([], buckets, self._board.total_real(total))
            yield family

    def _workers(self) -> Iterator[Metric]:
        workers = _gauge("workers", "Worker processes by role and state.", ["role", "state"])
        restarts = _counter("worker_restarts", "Workers replaced, by cause.", ["role", "cause"])
        for role in self._board.roles():
            if role == SUPERVISOR:
                continue
            states = [slot.words[scoreboard.STATE] for slot in self._board.slots(role)]
            for number, state in enumerate(STATES):
                if number != EMPTY:
                    workers.add_metric([role, state], states.count(number))
            for cause, word in CAUSES:
                restarts.add_metric([role, cause], self._board.total(word, role))
        yield from (workers, restarts)


def _one(family: Callable[..., Metric], name: str, text: str, value: float) -> Metric:
    return family(PREFIX + name, text, value=value)


def _counter(name: str, text: str, labels: Sequence[str]) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, labels=labels)


def _gauge(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=labels)


def _unix(monotonic: float, now: float) -> float:
    return time.time() - (now - monotonic)


def _cumulative(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    names = ["+Inf" if bound == float("inf") else repr(bound) for bound in bounds]
    return list(zip(names, itertools.accumulate(counts), strict=True))
