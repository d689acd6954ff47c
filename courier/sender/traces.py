"""The traces of a sender's attempts: which attempts become spans, and the thread that exports them.

The loop only puts an attempt into a queue. Whatever the collector does, the queue has room or the span is dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from queue import SimpleQueue
from threading import Event, Thread
from typing import Final, NamedTuple

import structlog

from courier.http.answer import SHORTAGES, Answer, Failure
from courier.log.recurring import RecurringLine
from courier.message import Message
from courier.request.head_layout import attribute_value
from courier.request.trace import Parent, read_traceparent, traceparent
from courier.sender.tap import Allowance

MOST_PER_SECOND: Final = 50.0
"""Spans of delivered attempts a second that a sender exports, and as many of failed ones.

The thread shares the processor with the loop: this bounds what it takes of it.
"""

MOST_QUEUED: Final = 512
"""Spans that wait for the thread. More than this are dropped."""

GATHER_SECONDS: Final = 1.0
"""Seconds for which the thread gathers spans before it sends them in one request."""

PAUSE_SECONDS: Final = 5.0
"""Seconds for which the thread leaves a collector alone after it failed."""

DRAIN_SECONDS: Final = 1.0
"""Seconds that the last spans have at the end of a sender."""

TOO_MANY: Final = f"more than {MOST_PER_SECOND:g} a second in one sender"
TOO_SLOW: Final = "the collector doesn't keep up"

log = structlog.get_logger("courier.sender")


class Attempted(NamedTuple):
    """An attempt, to be a span. ``parent_id`` is 0 for a span without a parent, ``error`` empty for a delivery."""

    trace_id: int
    parent_id: int
    message_id: str
    attempt: int
    status: int | None
    error: str
    ended_ns: int
    duration: float


Export = Callable[[Sequence[Attempted]], str]
"""Sends spans, and blocks. Returns why they are lost, in one line; empty if the collector has them."""


class Traces:
    """One sender's traces. ``export`` runs in a thread, which is made in this process by the first :meth:`refresh`."""

    def __init__(self, share: float, export: Export) -> None:
        """``share`` is the share of the messages without a trace of their own to trace, from 0 to 1."""
        self._below = round(share * 2**64)
        self._export = export
        self._queue: SimpleQueue[Attempted] = SimpleQueue()
        self._queued = self._done = 0
        self._successes, self._failures = Allowance(MOST_PER_SECOND), Allowance(MOST_PER_SECOND)
        self._hurry = Event()
        self._thread: Thread | None = None
        self._dropped = RecurringLine(log, "info", "left attempts out of the traces")
        self._failed = RecurringLine(log, "warning", "cannot export traces; the spans are dropped")

    def refresh(self) -> None:
        """Make the thread if there is none: at the start, and if the machine had none to give. Never raises."""
        if self._thread is None or not self._thread.is_alive():
            # The thread before may have taken spans with it.
            self._done = self._queued - self._queue.qsize()
            self._thread = Thread(target=self._run, name="traces", daemon=True)
            with suppress(RuntimeError, MemoryError):
                self._thread.start()

    def note(self, message: Message, attempt: int, answer: Answer | Failure, *, is_success: bool) -> None:
        """Queue the span of an attempt that has just ended, if it is to have one. Never blocks."""
        if isinstance(answer, Failure) and answer.reason in SHORTAGES:
            # This machine had no connection for it: nothing was attempted.
            return
        parent = parent_of(message)
        if parent is not None:
            trace_id, parent_id, is_wanted = parent
        else:
            trace_id, parent_id = trace_id_of(message.message_id), 0
            is_wanted = not is_success or is_sampled(trace_id, self._below)
        if not is_wanted:
            return
        if not (self._successes if is_success else self._failures).take(time.monotonic()):
            self._dropped(TOO_MANY, reason=TOO_MANY)
        elif self._queue.qsize() >= MOST_QUEUED:
            self._dropped(TOO_SLOW, reason=TOO_SLOW)
        else:
            status = answer.status if isinstance(answer, Answer) else None
            error = "" if is_success else str(status) if isinstance(answer, Answer) else answer.reason
            now = time.time_ns()
            span = Attempted(trace_id, parent_id, message.message_id, attempt, status, error, now, answer.duration)
            self._queued += 1
            self._queue.put(span)

    async def close(self, deadline: float) -> None:
        """Give the last spans a second, but not beyond ``deadline`` (monotonic seconds), then leave them."""
        self.refresh()
        self._hurry.set()
        deadline = min(deadline, time.monotonic() + DRAIN_SECONDS)
        while self._done < self._queued and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            self._hurry.wait(GATHER_SECONDS)
            while len(batch) < MOST_QUEUED and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            problem = self._export(batch)
            self._done += len(batch)
            if problem:
                self._failed(
                    problem,
                    times=len(batch),
                    reason=problem,
                    advice="check that --traces is the address of a collector for OTLP over HTTP, and that it runs; "
                    "deliveries go on without it",
                )
                self._hurry.wait(PAUSE_SECONDS)


def parent_of(message: Message) -> Parent | None:
    """Return the producer's span: that of SQS's trace header if it is whole, else the attribute ``traceparent``."""
    if message.trace and (text := traceparent(message.trace)):
        return read_traceparent(text)
    text = attribute_value(message, "traceparent") or "" if message.attributes else ""
    return read_traceparent(text) if text else None


def trace_id_of(message_id: str) -> int:
    """Return the trace of a message without one: the same for all its attempts, in all senders."""
    digest = blake2b(message_id.encode("utf-8", "backslashreplace"), digest_size=16).digest()
    return int.from_bytes(digest) or 1


def is_sampled(trace_id: int, below: int) -> bool:
    """Return whether a trace belongs to the share ``below`` / 2**64, by its lower half, as OpenTelemetry's sampler."""
    return trace_id & 0xFFFF_FFFF_FFFF_FFFF < below
