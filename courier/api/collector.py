"""The metrics, read from the scoreboard at each scrape; docs/metrics.md explains each of them.

A slot keeps its counters when its worker is replaced, so counters return to zero only when the whole program restarts.
Every label has a fixed set of values. All series exist from the start, as zeros, because a rate needs two points.
"""

from __future__ import annotations

import itertools
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from courier import __version__
from courier.api.cumulative import cumulative
from courier.api.memory import Memory
from courier.api.observed import Observed
from courier.api.queue_view import DEAD_LETTER_QUEUE, FAILURE_QUEUE
from courier.api.readiness import draining, not_ready
from courier.api.route_metrics import route_metrics
from courier.api.workers import CAUSES, ON_STANDBY, SILENT, STATES, on_duty, state_of
from courier.board.archive import BEHIND, FULL, archive_view
from courier.board.depths import DEAD_LETTERS, FAILURE, SOURCE, oldest_age, read_answer
from courier.board.pause import is_paused
from courier.board.shortage import RESOURCES, shortages
from courier.board.tally import ACTIONS, REASONS, RESULTS
from courier.process import scoreboard
from courier.process.departure import NOTICES
from courier.process.scoreboard import EMPTY, SUPERVISOR, WORDS, kind_of
from courier.process.word_table import Kind

PREFIX: Final = "courier_"

DEPTH_STATES: Final = ("waiting", "delayed", "in flight")
"""The states of the messages in a queue, in the order of the numbers of a QueueDepth."""

LABELS: Final = {"reason": REASONS, "resource": RESOURCES, "notice": NOTICES}
"""The values of each label, in the order of the words that hold its counts."""


class BoardCollector(Collector):
    """The collector of all metrics, for a registry of prometheus_client."""

    def __init__(self, observed: Observed, memory: Memory | None = None) -> None:
        """``memory`` may be shared with others that show the memory of the processes."""
        self._observed = observed
        self._memory = memory or Memory()
        self._board = observed.board

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, read from the board now."""
        yield from self._program()
        yield from self._words()
        yield from self._calls()
        yield self._short_senders()
        yield from self._recipient()
        yield from route_metrics(self._observed)
        yield from self._channels()
        yield from self._queues()
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
        failing = board.gauge(scoreboard.AUDIT_FAILING, now) > 0
        yield _one(GaugeMetricFamily, "audit_failing", "1 while the audit log can't be written.", failing)
        yield from self._archive(now)
        last = max((slot.reals[scoreboard.LAST_RECEIVE] for slot in board.slots("consumer")), default=0.0)
        text = "When SQS last answered a receive, Unix time; 0 before the first."
        yield _one(GaugeMetricFamily, "last_receive_timestamp_seconds", text, _unix(last, now) if last else 0)

    def _archive(self, now: float) -> Iterator[Metric]:
        archive = archive_view(self._board, now)
        text = "1 while uploads to the archive of the audit log fail, or are too slow for --audit-keep-bytes."
        yield _one(GaugeMetricFamily, "archive_failing", text, archive.state >= BEHIND)
        text = "1 while intake pauses because files that wait for the archive fill --audit-keep-bytes."
        yield _one(GaugeMetricFamily, "archive_full", text, archive.state == FULL)
        text = "Age of the oldest audit file that waits for the archive, since it ended; 0 if none waits."
        yield _one(GaugeMetricFamily, "archive_oldest_seconds", text, archive.oldest)
        text = "When the archive last confirmed an audit file, Unix time; 0 before the first since the start."
        at = 0 if archive.last is None else time.time() - archive.last
        yield _one(GaugeMetricFamily, "archived_timestamp_seconds", text, at)

    def _recipient(self) -> Iterator[Metric]:
        recipient = self._observed.worst_recipient(time.monotonic())
        text = "The circuit breaker: 0 closed, 1 open, 2 half-open."
        yield _one(GaugeMetricFamily, "breaker_state", text, recipient.state)
        text = "1 while receiving is stopped because the recipient refuses messages."
        yield _one(GaugeMetricFamily, "stopped_by_refusals", text, recipient.refused > 0)
        text = "Seconds left of the pause that the recipient asked for; 0 for none."
        yield _one(GaugeMetricFamily, "paused_seconds", text, recipient.paused)
        text = "1 while a person has paused receiving (courier pause)."
        yield _one(GaugeMetricFamily, "receiving_paused", text, is_paused(self._board))

    def _words(self) -> Iterator[Metric]:
        board, now = self._board, time.monotonic()
        for word in WORDS:
            if Kind.METRIC not in word.kind:
                continue
            if word.bounds:
                histogram = HistogramMetricFamily(PREFIX + word.name, word.help)
                sum_of_seconds = board.total_real(word.place + word.size)
                histogram.add_metric([], cumulative(word.bounds, board.totals(word.place)), sum_of_seconds)
                yield histogram
            elif word.label:
                counters = _counter(word.name, word.help, [word.label])
                for value, count in zip(LABELS[word.label], board.totals(word.place), strict=False):
                    counters.add_metric([value], count)
                yield counters
            elif Kind.GAUGE in word.kind:
                yield _one(GaugeMetricFamily, word.name, word.help, board.gauge(word.place, now))
            else:
                yield _one(CounterMetricFamily, word.name, word.help, board.total(word.place))

    def _channels(self) -> Iterator[Metric]:
        depth = _gauge("channel_depth", "What waits between two stages: messages (runs), or outcomes.", ["channel"])
        size = _gauge("channel_bytes", "Bytes that wait between two stages.", ["channel"])
        for channel, waiting in self._observed.depths().items():
            depth.add_metric([channel], waiting.waiting)
            size.add_metric([channel], waiting.bytes)
        yield from (depth, size)

    def _queues(self) -> Iterator[Metric]:
        board, now = self._board, time.monotonic()
        numbers, asked_at, _ = read_answer(board, SOURCE, now)
        messages = _gauge("queue_messages", "Messages in the queue, as SQS last said; NaN while unknown.", ["state"])
        for state, number in itertools.zip_longest(DEPTH_STATES, numbers, fillvalue=math.nan):
            messages.add_metric([str(state)], number)
        yield messages
        text = "Messages in the dead-letter queue and in the failure queue, as SQS last said; NaN while unknown."
        letters = _gauge("dead_letters", text, ["queue"])
        for queue, place in ((DEAD_LETTER_QUEUE, DEAD_LETTERS), (FAILURE_QUEUE, FAILURE)):
            letters.add_metric([queue], next(iter(read_answer(board, place, now).numbers), math.nan))
        yield letters
        text = "When SQS last said how many messages the queue holds, Unix time; 0 before that."
        asked = _unix(asked_at, now) if asked_at else 0
        yield _one(GaugeMetricFamily, "queue_asked_timestamp_seconds", text, asked)
        oldest = oldest_age(board, now)
        text = "Age of the oldest message received within 10 seconds; NaN if there was none."
        yield _one(GaugeMetricFamily, "queue_oldest_seconds", text, math.nan if oldest is None else oldest)

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

    def _short_senders(self) -> Metric:
        senders = _gauge("short_senders", "Senders that deliver fewer messages at a time for that.", ["resource"])
        now = shortages(self._board, time.monotonic())
        for resource in RESOURCES:
            senders.add_metric([resource], now.get(resource, 0))
        return senders

    def _workers(self) -> Iterator[Metric]:
        workers = _gauge("workers", "Worker processes by role and state.", ["role", "state"])
        duty = _gauge("workers_on_duty", "Ready workers that aren't on standby, by role.", ["role"])
        memory = _gauge("memory_bytes", "Memory of the processes by role, shared pages in parts.", ["role"])
        now = time.monotonic()
        restarts = _counter("worker_restarts", "Workers replaced, by cause.", ["role", "cause"])
        for role in self._board.roles():
            pids = [pid for slot in self._board.slots(role) if (pid := slot.words[scoreboard.PID])]
            bytes_of = self._memory.of(pids)
            memory.add_metric([role], sum(bytes_of.get(pid) or 0 for pid in pids))
            if role == SUPERVISOR:
                continue
            if kind_of(role) in ON_STANDBY:
                duty.add_metric([role], sum(on_duty(slot, now) is True for slot in self._board.slots(role)))
            states = [state_of(slot, now) for slot in self._board.slots(role)]
            for state in (*STATES[EMPTY + 1 :], SILENT):
                workers.add_metric([role, state], states.count(state))
            for cause, word in CAUSES.items():
                restarts.add_metric([role, cause], self._board.total(word, role))
        yield from (workers, duty, memory, restarts)


def _one(family: Callable[..., Metric], name: str, text: str, value: float) -> Metric:
    return family(PREFIX + name, text, value=value)


def _counter(name: str, text: str, labels: Sequence[str]) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, labels=labels)


def _gauge(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=labels)


def _unix(monotonic: float, now: float) -> float:
    return time.time() - (now - monotonic)
