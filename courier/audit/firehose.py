"""The audit log as a Firehose stream: a record is durable once Firehose has returned a record id for it.

A call can fail for some of its records, and a call without an answer may have written all of them. So unconfirmed
records are sent again: a record can appear twice, but none is missing.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Final, NamedTuple

from courier.audit.failure_kinds import KEYS, PASSING
from courier.audit.firehose_batch import batches, refusals
from courier.audit.firehose_errors import FirehoseFailure, explain_failure, partly_refused
from courier.audit.firehose_events import EventPuts
from courier.audit.firehose_stream import Calling, connect, describe_call
from courier.audit.stream import Stream
from courier.errors import AuditError, CannotStart
from courier.recipient.policy import Backoff
from courier.sqs.call_errors import CALL_ERRORS

RENEW_SECONDS: Final = 10.0
"""Minimum seconds between two searches of boto3's credential chain after Firehose refused the credentials."""


_NETWORK: Final = "check the network to Firehose, and the stream's quota"


class RetryBudget(NamedTuple):
    """How long :meth:`FirehoseLog.append` tries (seconds), and its back-off between two calls."""

    seconds: float = 10.0
    backoff: Backoff = Backoff(0.05, 1.0)


CALLING: Final = Calling()
PATIENCE: Final = RetryBudget()

BRIEF: Final = RetryBudget(seconds=1.0)
"""For a policy under which deliveries continue without their records."""


class Unconfirmed(NamedTuple):
    """The rest of a batch: the indexes of the unconfirmed lines, and the reason."""

    indexes: list[int]
    why: FirehoseFailure | None


class FirehoseLog:
    """Puts audit records into a Firehose stream. All calls block, and only one thread at a time may use it.

    It needs a boto3 client, which can't survive a fork, and a few threads for parallel calls. So open it in the process
    that uses it. Without records it makes no call.
    """

    def __init__(self, stream: Stream, calling: Calling = CALLING, patience: RetryBudget = PATIENCE) -> None:
        """Make no call yet."""
        self._stream = stream
        self._calling = calling
        self._patience = patience
        self._client: Any = None
        self._connected_at = 0.0
        self._threads: ThreadPoolExecutor | None = None
        self._closing = threading.Event()
        self._trouble: FirehoseFailure | None = None
        self._events = EventPuts(self._put_events)

    def open(self) -> None:
        """Make the client. Raise CannotStart if boto3 finds no region or can't read its configuration."""
        self._client = connect(self._stream, self._calling)
        self._connected_at = time.monotonic()

    def append(self, lines: Sequence[bytes]) -> None:
        """Put lines into the stream, one record a line. Each must end in a newline and fit into a record.

        Return once Firehose has confirmed all of them. Temporary refusals are repeated with back-off until the time of
        the patience is over; running calls then get a little longer. Raise AuditError with the unconfirmed lines. They
        may be in the stream even so, if the answer was lost.
        """
        if not lines:
            return
        deadline = time.monotonic() + self._patience.seconds
        try:
            if self._client is None:
                self.open()
        except CannotStart as error:
            self._trouble = FirehoseFailure(str(error), KEYS)
            raise AuditError(str(error), code=KEYS) from error
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._calling.calls, thread_name_prefix="firehose")
        puts = {
            self._threads.submit(self._put, self._client, lines, batch, deadline): batch for batch in batches(lines)
        }
        self._conclude(self._gather(puts, deadline), len(lines))

    def append_with_events(self, lines: Sequence[bytes], events: Sequence[bytes]) -> int:
        """Put lines as :meth:`append` does, and event lines later: no line waits for them.

        Return how many event lines the stream didn't take since the last call.
        """
        self.append(lines)
        return self._events.add(events)

    def _put_events(self, events: Sequence[bytes]) -> int:
        """Put event lines, in the thread of the events; return how many aren't confirmed."""
        try:
            if self._client is None:
                self.open()
        except CannotStart:
            return len(events)
        client, deadline = self._client, time.monotonic() + self._patience.seconds
        return sum(len(self._put(client, events, batch, deadline).indexes) for batch in batches(events))

    def rotate(self) -> None:
        """Do nothing: a stream has no files."""

    def probe(self) -> None:
        """Raise AuditError if the last append failed.

        Only a put shows whether Firehose accepts records, and a record without a message has no place in an audit log.
        So the last append is the latest known state.
        """
        if self._trouble is not None:
            raise AuditError(self._trouble.line, code=self._trouble.kind)

    def finish(self, seconds: float) -> None:
        """Do nothing: a confirmed record needs nothing more."""

    def close(self) -> None:
        """Release the client and the threads, without waiting for running calls, but a moment for event lines."""
        self._events.close()
        self._closing.set()
        self._leave_threads()
        if self._client is not None:
            self._client.close()
            self._client = None

    def _put(self, client: Any, lines: Sequence[bytes], batch: list[int], deadline: float) -> Unconfirmed:
        """Repeat a batch until all of it is confirmed, a failure is permanent, or the time is over; return the rest."""
        left = Unconfirmed(batch, None)
        tries = 0
        while time.monotonic() < deadline:
            before = len(left.indexes)
            left = self._call(client, lines, left.indexes)
            # A stream that accepts some records only lacks capacity, so the back-off begins again.
            tries = 1 if len(left.indexes) < before else tries + 1
            if left.why is None or left.why.kind != PASSING:
                break
            pause = self._patience.backoff.delay(tries, random.random())
            if time.monotonic() + pause >= deadline or self._closing.wait(pause):
                break
        return left

    def _call(self, client: Any, lines: Sequence[bytes], batch: list[int]) -> Unconfirmed:
        """Make one call; return what it didn't confirm."""
        trying = describe_call(client, "PutRecordBatch", self._stream)
        records = [{"Data": lines[index]} for index in batch]
        try:
            answer = client.put_record_batch(DeliveryStreamName=self._stream.name, Records=records)
            refused = refusals(answer, len(batch))
        except CALL_ERRORS as error:
            return Unconfirmed(batch, explain_failure(error, trying))
        if not refused:
            return Unconfirmed([], None)
        return Unconfirmed([batch[each.position] for each in refused], partly_refused(refused, len(batch), trying))

    def _gather(self, puts: dict[Future[Unconfirmed], list[int]], deadline: float) -> list[Unconfirmed]:
        """Return the results of all batches. Wait no longer than a call that started in time may take."""
        longest = self._calling.connect_seconds + self._calling.read_seconds
        hanging = wait(puts, max(0.0, deadline + longest - time.monotonic())).not_done
        if not hanging:
            return [put.result() for put in puts]
        # A name lookup hangs, or an answer trickles in. Such threads end at some point, but nothing waits for them.
        self._leave_threads()
        late = FirehoseFailure(f"calls for Firehose stream {self._stream.name!r} hang; {_NETWORK}", PASSING)
        return [Unconfirmed(batch, late) if put in hanging else put.result() for put, batch in puts.items()]

    def _conclude(self, results: Sequence[Unconfirmed], count: int) -> None:
        """Raise AuditError unless all lines are in the stream."""
        failed = sorted(index for left in results for index in left.indexes)
        if not failed:
            self._trouble = None
            return
        reasons = [left.why for left in results if left.why is not None]
        slow = FirehoseFailure(f"Firehose stream {self._stream.name!r} takes records too slowly; {_NETWORK}", PASSING)
        # A permanent failure comes first, because the operator must fix it.
        why = next((each for each in reasons if each.kind != PASSING), reasons[0] if reasons else slow)
        self._trouble = why
        if why.kind == KEYS and time.monotonic() - self._connected_at >= RENEW_SECONDS:
            self._client = None
        raise AuditError(f"{len(failed)} of {count} records are not in the stream: {why.line}", failed, code=why.kind)

    def _leave_threads(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
