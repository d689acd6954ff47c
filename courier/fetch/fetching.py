"""The step that fetches a body from S3, where the message is a pointer to it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from courier.errors import CannotStart
from courier.fetch.breaker import THRESHOLD
from courier.fetch.bucket import Bucket, Fetch
from courier.fetch.pointer import BucketPrefix, is_pointer, read_pointer, with_fetched_body
from courier.fetch.s3_client import S3Settings, connect_s3
from courier.fetch.s3_errors import S3Failure, s3_failure_of
from courier.http.answer import Failure
from courier.http.file_body import PIECE_BYTES, FileBody
from courier.http.spool import MEMORY_BYTES, Spool
from courier.recipient.content import NO_ROOM, NOT_FETCHED, S3_DENIES, S3_FAILS, TOO_LARGE
from courier.request.content import Content, Made, Pending, Pointer
from courier.request.threads import InThread, Threads
from courier.sqs.call_errors import CALL_ERRORS

MOST_THREADS: Final = 16
"""Objects that a sender fetches at the same time."""

STALLED_SECONDS: Final = 5.0
"""Seconds without a byte after which a fetch has stalled. S3 usually answers within a fifth of a second."""

LOOK_SECONDS: Final = 1.0
"""Seconds between two looks for fetches that have stalled."""


class FetchSettings(NamedTuple):
    """What may be fetched: from ``places``, up to ``most_bytes``, within ``timeout`` seconds.

    ``removes``: objects are to be removed after their messages. A longer body than ``memory_bytes`` goes into a file.
    """

    places: tuple[BucketPrefix, ...]
    most_bytes: int
    timeout: float
    s3: S3Settings
    removes: bool = False
    memory_bytes: int = MEMORY_BYTES


class Observer(Protocol):
    """What is told of each fetch, with its bytes, and of each failure. Threads call it, but one at a time."""

    def open_breakers(self, count: int) -> None:
        """Show how many buckets have an open breaker."""

    def fetched(self, size: int) -> None:
        """Count an object."""

    def failed(self) -> None:
        """Count a failure."""


class Fetching:
    """One sender's step. It has a client of its own, made by the first fetch, and a breaker for each bucket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: FetchSettings,
        observer: Observer | None = None,
        connect: Callable[[S3Settings], Any] = connect_s3,
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._observer = observer
        self._connect = connect
        self._client: Any = None
        self._threads = Threads(loop, settings.s3.threads, "fetch")
        self._buckets: dict[str, Bucket] = {}
        # So many stalled fetches say that S3 has stalled: they hold slots that other messages need.
        self._many_stalled = max(1, min(THRESHOLD, settings.s3.threads // 2))
        self._watch: asyncio.TimerHandle | None = None
        # Guards the breakers and the counts, which the loop uses too, so that nobody holds it for long.
        self._lock = threading.Lock()
        self._connecting = threading.Lock()

    def __call__(self, content: Content, done: Callable[[Made], None]) -> Made | Pending:
        """Fetch the body, if the message is a pointer; see :data:`courier.request.content.Step`."""
        message = content.message
        if not is_pointer(message):
            return content
        pointer = read_pointer(message.body, self._settings.places)
        if isinstance(pointer, Failure):
            return pointer
        now = time.monotonic()
        with self._lock:
            bucket = self._buckets.setdefault(pointer.bucket, Bucket(pointer.bucket))
            if not bucket.breaker.admits(now, self._settings.timeout):
                return bucket.refusal(now)
            fetch = Fetch(done, pointer, bucket, is_probe=bucket.breaker.is_open)

        def work(under_way: InThread) -> Made:
            with self._lock:
                if bucket.breaker.is_open and not fetch.is_probe:
                    # It has opened while this fetch waited for a thread.
                    return bucket.refusal(time.monotonic())
            # The time counts from here on: the wait for a thread says nothing about S3.
            fetch.began_at = fetch.moved_at = time.monotonic()
            return self._fetch(content, fetch, under_way)

        fetch.under_way = self._threads.start(work, fetch.finish)
        bucket.fetches.add(fetch)
        if self._watch is None:
            self._watch = self._loop.call_later(LOOK_SECONDS, self._look)
        return fetch

    # In a thread.

    def _fetch(self, content: Content, fetch: Fetch, under_way: InThread) -> Made:
        pointer, bucket = fetch.pointer, fetch.bucket
        try:
            got = self._get(fetch, under_way)
        except CannotStart as error:
            got = S3Failure(S3_DENIES, str(error), True)
        if under_way.is_cancelled:
            return Failure(S3_FAILS, "given up", 0.0)
        if isinstance(got, S3Failure):
            return self._failed(got, pointer, bucket)
        with self._lock:
            bucket.worked(time.monotonic())
            if self._observer is not None and not isinstance(got, Failure):
                self._observer.fetched(len(got))
                self._show_breakers()
        if isinstance(got, Failure):
            return got
        removed = pointer if self._settings.removes else None
        if isinstance(got, FileBody):
            return content._replace(message=with_fetched_body(content.message, b""), file=got, pointer=removed)
        return content._replace(message=with_fetched_body(content.message, got), pointer=removed)

    def _get(self, fetch: Fetch, under_way: InThread) -> bytes | FileBody | Failure | S3Failure:
        """Return the body that an object holds, or why there is none. Raise CannotStart without a client."""
        pointer, client = fetch.pointer, self._connected()
        most, spool = self._settings.most_bytes, Spool(self._settings.memory_bytes)
        with contextlib.closing(spool):
            try:
                answer = client.get_object(Bucket=pointer.bucket, Key=pointer.key)
                with contextlib.closing(answer["Body"]) as stream:
                    if (length := answer.get("ContentLength")) is None:
                        return S3Failure(S3_FAILS, f"{pointer} came without its length", True)
                    if length > most:
                        return Failure(TOO_LARGE, f"{pointer} has {length} bytes, --fetch-max-bytes allows {most}", 0.0)
                    under_way.stop = partial(_shut_down, stream)
                    for piece in _pieces(stream, under_way):
                        fetch.moved_at = time.monotonic()
                        if spool.size + len(piece) > length:
                            break
                        try:
                            spool.write(piece)
                        except OSError as error:
                            return S3Failure(NO_ROOM, f"{pointer} can't be spooled: {error.strerror or error}", True)
            except CALL_ERRORS as error:
                s3_failure = s3_failure_of(error, client.meta.endpoint_url)
                if s3_failure.is_about_keys:
                    self._forget(client)
                return s3_failure
            finally:
                under_way.stop = None
            if spool.size != length:
                return S3Failure(S3_FAILS, f"{pointer} came with {spool.size} of {length} bytes", True)
            return spool.body()

    def _connected(self) -> Any:
        with self._connecting:
            if self._client is None:
                self._client = self._connect(self._settings.s3)
            return self._client

    def _forget(self, client: Any) -> None:
        """Search for other keys at the next fetch."""
        with self._connecting:
            if self._client is client:
                self._client = None

    def _failed(self, s3_failure: S3Failure, pointer: Pointer, bucket: Bucket) -> Failure:
        """Count a failure, log it if a line is due, and return it."""
        now = time.monotonic()
        with self._lock:
            failure = bucket.failed(s3_failure, pointer, now)
            if self._observer is not None and s3_failure.reason in NOT_FETCHED:
                self._observer.failed()
                self._show_breakers()
            return failure

    def _show_breakers(self) -> None:
        if self._observer is not None:
            self._observer.open_breakers(sum(bucket.breaker.is_open for bucket in self._buckets.values()))

    # In the loop.

    def _look(self) -> None:
        """Give up the fetches that take too long, and those that have stalled if there are many of them."""
        self._watch, now = None, time.monotonic()
        # A copy: whoever is given up frees a slot, and the next message may be the first that points to another bucket.
        for bucket in [*self._buckets.values()]:
            begun = [fetch for fetch in bucket.fetches if fetch.began_at]
            for fetch in begun:
                if now - fetch.began_at >= self._settings.timeout:
                    self._expire(fetch, f"didn't come within --fetch-timeout {self._settings.timeout:g} s")
            stalled = [fetch for fetch in begun if now - fetch.moved_at >= STALLED_SECONDS and not fetch.is_over]
            if len(stalled) >= self._many_stalled:
                with self._lock:
                    bucket.breaker.open(now)
                for fetch in stalled:
                    self._expire(fetch, f"and {len(stalled) - 1} others got no byte for {STALLED_SECONDS:g} s")
            if bucket.breaker.is_open:
                self._refuse_waiting(bucket, now)
        if self._watch is None and any(bucket.fetches for bucket in self._buckets.values()):
            self._watch = self._loop.call_later(LOOK_SECONDS, self._look)

    def _refuse_waiting(self, bucket: Bucket, now: float) -> None:
        """Give up the fetches that wait for a thread: it may be long until those of the stalled ones are free."""
        for fetch in [fetch for fetch in bucket.fetches if not (fetch.began_at or fetch.is_probe)]:
            fetch.cancel()
            with self._lock:
                refusal = bucket.refusal(now)
            fetch.done(refusal)

    def _expire(self, fetch: Fetch, text: str) -> None:
        fetch.cancel()
        s3_failure = S3Failure(S3_FAILS, f"{fetch.pointer} {text}", True)
        fetch.done(self._failed(s3_failure, fetch.pointer, fetch.bucket))


def _pieces(stream: Any, under_way: InThread) -> Iterator[bytes]:
    """Yield the pieces of an answer's body until its end, or until nobody wants them; raise what botocore raises."""
    while not under_way.is_cancelled:
        piece: bytes = stream.read(PIECE_BYTES)
        if not piece:
            return
        yield piece


def _shut_down(stream: Any) -> None:
    """End the wait of a thread for more of an answer's body; without this, it ends when S3 has been silent for long."""
    # The methods of urllib3 below botocore; old ones have none.
    with contextlib.suppress(AttributeError, OSError, RuntimeError, ValueError):
        stream._raw_stream.shutdown()
