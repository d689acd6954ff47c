"""The audit log as a Firehose stream: a record is durable once Firehose has given it a record id.

A call can fail for some of its records only, and a call that got no answer may have written all of them. So what
Firehose didn't confirm is sent again: a record can come twice, but none is missing.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Final, NamedTuple

from courier.audit.firehose_batch import batches, refusals
from courier.audit.firehose_errors import CALL_ERRORS, KEYS, PASSING, Trouble, partly_refused, trouble
from courier.audit.firehose_stream import Calling, Stream, attempt, connect
from courier.errors import AuditError, CannotStart
from courier.policy import Backoff

RENEW_SECONDS: Final = 10.0
"""How often, at most, boto3's chain is gone through again because Firehose refused the credentials."""


class Patience(NamedTuple):
    """How long :meth:`FirehoseLog.append` tries, in seconds, and how it backs off between two attempts."""

    seconds: float = 10.0
    backoff: Backoff = Backoff(0.05, 1.0)


CALLING: Final = Calling()
PATIENCE: Final = Patience()

BRIEF: Final = Patience(seconds=1.0)
"""For deliveries that are to go on without their records."""


class Left(NamedTuple):
    """What is left of a batch: the indexes of the lines that the stream didn't confirm, and why."""

    indexes: list[int]
    why: Trouble | None


class FirehoseLog:
    """Puts audit records into a Firehose stream. All calls block, and one thread calls it at a time.

    It keeps a few threads for calls side by side, and a client of boto3: both are made by :meth:`open`, so open it in
    the process that uses it. Without records it does nothing.
    """

    def __init__(self, stream: Stream, calling: Calling = CALLING, patience: Patience = PATIENCE) -> None:
        """Nothing is called yet."""
        self._stream = stream
        self._calling = calling
        self._patience = patience
        self._client: Any = None
        self._connected_at = 0.0
        self._threads: ThreadPoolExecutor | None = None
        self._closing = threading.Event()
        self._trouble: Trouble | None = None

    def open(self) -> None:
        """Make the client. Raises CannotStart where boto3 finds no region or can't read its configuration."""
        self._client = connect(self._stream, self._calling)
        self._connected_at = time.monotonic()

    def append(self, lines: Sequence[bytes]) -> None:
        """Put lines into the stream, each a record; each ends in a newline and fits a record.

        Returns once Firehose has confirmed all of them. What it refuses in passing is sent again with back-off, for
        as long as the patience lasts; calls that are under way then are waited for a little longer. Raises AuditError,
        which tells the lines that aren't confirmed. They may be in the stream all the same, if the answer was lost.
        """
        if not lines:
            return
        deadline = time.monotonic() + self._patience.seconds
        try:
            if self._client is None:
                self.open()
        except CannotStart as error:
            self._trouble = Trouble(str(error), KEYS)
            raise AuditError(str(error)) from error
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._calling.calls, thread_name_prefix="firehose")
        puts = {
            self._threads.submit(self._put, self._client, lines, batch, deadline): batch for batch in batches(lines)
        }
        self._conclude(self._gather(puts, deadline), len(lines))

    def rotate(self) -> None:
        """Do nothing: a stream has no files."""

    def probe(self) -> None:
        """Raise AuditError where the last append failed.

        Firehose has no call that tells whether it would take a record, except to put one, and a record that stands for
        no message has no place in an audit log. So the last append is the newest that is known.
        """
        if self._trouble is not None:
            raise AuditError(self._trouble.line)

    def close(self) -> None:
        """Let go of the client and the threads, without waiting for what is under way."""
        self._closing.set()
        self._leave_threads()
        if self._client is not None:
            self._client.close()
            self._client = None

    def _put(self, client: Any, lines: Sequence[bytes], batch: list[int], deadline: float) -> Left:
        """Put a batch until all of it is confirmed, what is wrong won't pass by itself, or the time is over."""
        left = Left(batch, None)
        tries = 0
        while time.monotonic() < deadline:
            before = len(left.indexes)
            left = self._call(client, lines, left.indexes)
            # A stream that takes some is only short of capacity: the rest needn't wait as for one that takes nothing.
            tries = 1 if len(left.indexes) < before else tries + 1
            if left.why is None or left.why.kind != PASSING:
                break
            pause = self._patience.backoff.delay(tries, random.random())
            if time.monotonic() + pause >= deadline or self._closing.wait(pause):
                break
        return left

    def _call(self, client: Any, lines: Sequence[bytes], batch: list[int]) -> Left:
        """Make one call; gives what isn't confirmed by it."""
        trying = attempt(client, "PutRecordBatch", self._stream)
        records = [{"Data": lines[index]} for index in batch]
        try:
            answer = client.put_record_batch(DeliveryStreamName=self._stream.name, Records=records)
            refused = refusals(answer, len(batch))
        except CALL_ERRORS as error:
            return Left(batch, trouble(error, trying))
        if not refused:
            return Left([], None)
        return Left([batch[each.position] for each in refused], partly_refused(refused, len(batch), trying))

    def _gather(self, puts: dict[Future[Left], list[int]], deadline: float) -> list[Left]:
        """Wait for all batches, and no longer than a call that began in time may take."""
        longest = self._calling.connect_seconds + self._calling.read_seconds
        hanging = wait(puts, max(0.0, deadline + longest - time.monotonic())).not_done
        if not hanging:
            return [put.result() for put in puts]
        # Names that don't resolve, or answers that trickle: such threads end some day, but nobody waits for them.
        self._leave_threads()
        late = Trouble(f"calls for Firehose stream {self._stream.name!r} don't end", PASSING)
        return [Left(batch, late) if put in hanging else put.result() for put, batch in puts.items()]

    def _conclude(self, results: Sequence[Left], count: int) -> None:
        """Return where all lines are in the stream, else raise AuditError."""
        failed = sorted(index for left in results for index in left.indexes)
        if not failed:
            self._trouble = None
            return
        reasons = [left.why for left in results if left.why is not None]
        slow = Trouble(f"Firehose stream {self._stream.name!r} takes records too slowly", PASSING)
        # What won't pass by itself is what somebody has to mend.
        why = next((each for each in reasons if each.kind != PASSING), reasons[0] if reasons else slow)
        self._trouble = why
        if why.kind == KEYS and time.monotonic() - self._connected_at >= RENEW_SECONDS:
            self._client = None
        raise AuditError(f"{len(failed)} of {count} records are not in the stream: {why.line}", failed)

    def _leave_threads(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
