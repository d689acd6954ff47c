"""The step that fetches a body from S3, where the message is a pointer to it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import structlog

from courier.errors import CannotStart
from courier.fetch.breaker import BucketBreaker
from courier.fetch.pointer import Place, is_pointer, read_pointer, without_size
from courier.fetch.s3_client import S3Settings, connect_s3
from courier.fetch.s3_errors import Trouble, trouble_of
from courier.http.answer import Failure
from courier.http.file_body import PIECE_BYTES, FileBody
from courier.http.spool import MEMORY_BYTES, Spool
from courier.log.outage import Outage
from courier.recipient.advice import BY_REASON
from courier.recipient.content import NO_ROOM, NO_ROOM_SECONDS, NOT_FETCHED, S3_DENIES, S3_FAILS, TOO_LARGE, UNSENDABLE
from courier.request.content import Content, Made, Pending, Pointer
from courier.request.threads import InThread, Threads
from courier.sqs.call_errors import CALL_ERRORS

MOST_THREADS: Final = 16
"""Objects that a sender fetches at the same time."""

log = structlog.get_logger("courier.fetch")


class FetchSettings(NamedTuple):
    """What may be fetched: from ``places``, up to ``most_bytes``, within ``timeout`` seconds.

    ``removes``: objects are to be removed after their messages. A longer body than ``memory_bytes`` goes into a file.
    """

    places: tuple[Place, ...]
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
        self._buckets: dict[str, _Bucket] = {}
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
            bucket = self._buckets.setdefault(pointer.bucket, _Bucket(pointer.bucket))
            if not bucket.breaker.admits(now, self._settings.timeout):
                return bucket.refusal(now)
        fetch = _Fetch(done, partial(self._expired, pointer, bucket))

        def work(under_way: InThread) -> Made:
            # From here on: the wait for a thread says nothing about S3.
            self._loop.call_soon_threadsafe(fetch.expire_at, self._loop, self._settings.timeout)
            return self._fetch(content, pointer, bucket, under_way)

        fetch.under_way = self._threads.start(work, fetch.finish)
        return fetch

    # In a thread.

    def _fetch(self, content: Content, pointer: Pointer, bucket: _Bucket, under_way: InThread) -> Made:
        try:
            got = self._get(pointer, under_way)
        except CannotStart as error:
            got = Trouble(S3_DENIES, str(error), True)
        if under_way.is_cancelled:
            return Failure(S3_FAILS, "given up", 0.0)
        if isinstance(got, Trouble):
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
            return content._replace(message=without_size(content.message, b""), file=got, pointer=removed)
        return content._replace(message=without_size(content.message, got), pointer=removed)

    def _get(self, pointer: Pointer, under_way: InThread) -> bytes | FileBody | Failure | Trouble:
        """Return the body that an object holds, or why there is none. Raise CannotStart without a client."""
        client = self._connected()
        most, spool = self._settings.most_bytes, Spool(self._settings.memory_bytes)
        with contextlib.closing(spool):
            try:
                answer = client.get_object(Bucket=pointer.bucket, Key=pointer.key)
                length = int(answer["ContentLength"])
                with contextlib.closing(answer["Body"]) as stream:
                    if length > most:
                        return Failure(TOO_LARGE, f"{pointer} has {length} bytes, --fetch-max-bytes allows {most}", 0.0)
                    under_way.stop = partial(_shut_down, stream)
                    for piece in _pieces(stream, under_way):
                        if spool.size + len(piece) > length:
                            break
                        try:
                            spool.write(piece)
                        except OSError as error:
                            return Trouble(NO_ROOM, f"{pointer} can't be spooled: {error.strerror or error}", True)
            except CALL_ERRORS as error:
                trouble = trouble_of(error, client.meta.endpoint_url)
                if trouble.is_about_keys:
                    self._forget(client)
                return trouble
            finally:
                under_way.stop = None
            if spool.size != length:
                return Trouble(S3_FAILS, f"{pointer} came with {spool.size} of {length} bytes", True)
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

    def _failed(self, trouble: Trouble, pointer: Pointer, bucket: _Bucket) -> Failure:
        """Count a failure, log it if a line is due, and return it."""
        now = time.monotonic()
        with self._lock:
            failure = bucket.failed(trouble, pointer, now)
            if self._observer is not None and trouble.reason in NOT_FETCHED:
                self._observer.failed()
                self._show_breakers()
            return failure

    def _show_breakers(self) -> None:
        if self._observer is not None:
            self._observer.open_breakers(sum(bucket.breaker.is_open for bucket in self._buckets.values()))

    # In the loop.

    def _expired(self, pointer: Pointer, bucket: _Bucket) -> Failure:
        within = f"{pointer} didn't come within --fetch-timeout {self._settings.timeout:g} s"
        return self._failed(Trouble(S3_FAILS, within, True), pointer, bucket)


class _Bucket:
    """What a sender knows of a bucket."""

    def __init__(self, name: str) -> None:
        self.breaker = BucketBreaker()
        self._name = name
        self._outage = Outage()
        self._last = Trouble(S3_FAILS, "", True)

    def worked(self, now: float) -> None:
        """Record that an object came, or was refused for what it is."""
        self.breaker.worked()
        if failures := self._outage.worked(now):
            log.info("objects can be fetched again", bucket=self._name, failures=failures)

    def failed(self, trouble: Trouble, pointer: Pointer, now: float) -> Failure:
        """Record a failure, and return it."""
        if not trouble.is_general:
            if trouble.reason in UNSENDABLE:
                self.breaker.worked()
            return Failure(trouble.reason, trouble.detail, 0.0)
        self._last = trouble
        self.breaker.failed(now)
        if (due := self._outage.failed(trouble.reason, now, time.time())) is not None:
            log.warning(
                "cannot fetch an object; its message is returned to its queue, and tried again later",
                object=str(pointer),
                reason=trouble.detail,
                advice=BY_REASON[trouble.reason],
                **due,
            )
        hide = self.breaker.seconds_to_hide(now, random.random())
        return Failure(
            trouble.reason, trouble.detail, 0.0, max(hide, NO_ROOM_SECONDS if trouble.reason == NO_ROOM else 0.0)
        )

    def refusal(self, now: float) -> Failure:
        """Return the failure of a fetch that isn't tried, because the last ones failed."""
        detail = f"not tried, since the last fetches from {self._name} failed: {self._last.detail}"
        return Failure(self._last.reason, detail, 0.0, self.breaker.seconds_to_hide(now, random.random()))


class _Fetch:
    """A fetch under way: it ends with its result, when it takes too long, or when it is given up."""

    under_way: InThread

    def __init__(self, done: Callable[[Made], None], expired: Callable[[], Failure]) -> None:
        self._done = done
        self._expired = expired
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def expire_at(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Give it so many seconds from now on."""
        if not self._is_over:
            self._timer = loop.call_later(seconds, self._expire)

    def cancel(self) -> None:
        self._end()
        self.under_way.cancel()

    def finish(self, made: Made) -> None:
        self._end()
        self._done(made)

    def _expire(self) -> None:
        self.cancel()
        self._done(self._expired())

    def _end(self) -> None:
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()


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
