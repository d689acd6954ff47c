"""A bucket as one sender sees it: the fetches under way, and what the last ones met."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import structlog

from courier.fetch.breaker import BucketBreaker
from courier.fetch.s3_errors import S3Failure
from courier.http.answer import Failure
from courier.log.outage import Outage
from courier.recipient.advice import BY_REASON
from courier.recipient.content import NO_ROOM, NO_ROOM_SECONDS, S3_FAILS
from courier.request.content import Made, Pointer
from courier.request.threads import InThread

log = structlog.get_logger("courier.fetch")


class Bucket:
    """What a sender knows of a bucket. ``fetches`` are under way."""

    def __init__(self, name: str) -> None:
        self.breaker = BucketBreaker()
        self.fetches: set[Fetch] = set()
        self._name = name
        self._outage = Outage()
        self._last = S3Failure(S3_FAILS, "", True)

    def worked(self, now: float) -> None:
        """Record that an object came, or was refused for what it is."""
        self.breaker.worked()
        if failures := self._outage.worked(now):
            log.info("objects can be fetched again", bucket=self._name, failures=failures)

    def failed(self, s3_failure: S3Failure, pointer: Pointer, now: float) -> Failure:
        """Record a failure, and return it."""
        if not s3_failure.is_general:
            # S3 has answered, about this object only.
            self.worked(now)
            return Failure(s3_failure.reason, s3_failure.detail, 0.0)
        self._last = s3_failure
        self.breaker.failed(now)
        if (due := self._outage.failed(s3_failure.reason, now, time.time())) is not None:
            log.warning(
                "cannot fetch an object; its message is returned to its queue, and tried again later",
                object=str(pointer),
                reason=s3_failure.detail,
                advice=BY_REASON[s3_failure.reason],
                **due,
            )
        hide = self.breaker.seconds_to_hide(now, random.random())
        return Failure(
            s3_failure.reason,
            s3_failure.detail,
            0.0,
            max(hide, NO_ROOM_SECONDS if s3_failure.reason == NO_ROOM else 0.0),
        )

    def refusal(self, now: float) -> Failure:
        """Return the failure of a fetch that isn't tried, because the last ones failed."""
        detail = f"not tried, since the last fetches from {self._name} failed: {self._last.detail}"
        return Failure(self._last.reason, detail, 0.0, self.breaker.seconds_to_hide(now, random.random()))


class Fetch:
    """A fetch under way. It began at ``began_at`` and got its last bytes at ``moved_at`` (monotonic; 0 before that).

    ``is_probe``: it was let through although the breaker was open.
    """

    under_way: InThread

    def __init__(self, done: Callable[[Made], None], pointer: Pointer, bucket: Bucket, *, is_probe: bool) -> None:
        self.done = done
        self.pointer = pointer
        self.bucket = bucket
        self.is_probe = is_probe
        self.began_at = self.moved_at = 0.0
        self.is_over = False

    def cancel(self) -> None:
        """Give up."""
        self._end()
        self.under_way.cancel()

    def finish(self, made: Made) -> None:
        """Pass the result on."""
        self._end()
        self.done(made)

    def _end(self) -> None:
        self.is_over = True
        self.bucket.fetches.discard(self)
        if self.is_probe:
            self.bucket.breaker.let_go(time.monotonic())
