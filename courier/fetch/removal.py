"""The removal of objects whose messages were delivered and deleted. It is best effort: what it misses stays in S3.

It has a thread of its own in the auditor's process, which nothing waits for. An object is removed only after its
message: in the other order, a message that comes again would have lost its body.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

import structlog

from courier.errors import CannotStart
from courier.fetch.s3_client import S3Settings, connect_s3
from courier.fetch.s3_errors import S3Failure, s3_failure_of
from courier.log.outage import Outage
from courier.recipient.advice import BY_REASON
from courier.recipient.content import S3_DENIES, S3_FAILS
from courier.request.content import Pointer
from courier.sqs.call_errors import CALL_ERRORS

MOST_WAITING: Final = 10_000
"""Objects that may wait. While S3 fails for longer, the rest stays there."""

BATCH: Final = 1000
"""Objects in a call, by S3's limit."""

GATHER_SECONDS: Final = 0.5
"""Seconds that an object waits for others: nothing is urgent about it."""

RETRY_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses after failed calls; the last one repeats."""

_PLAIN_KEY: Final = re.compile(r"[\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
"""Keys that XML can hold. One other key would spoil the call for all of them."""

_DENIED: Final = "allow the IAM action s3:DeleteObject, or leave out --fetch-delete"

log = structlog.get_logger("courier.fetch")


class Removal:
    """Removes objects in a thread. ``add`` and ``left`` are for the loop; ``on_count`` is called with (removed, left).

    It is called by one thread at a time.
    """

    def __init__(
        self,
        settings: S3Settings,
        on_count: Callable[[int, int], None],
        connect: Callable[[S3Settings], Any] = connect_s3,
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._on_count = on_count
        self._client: Any = None
        self._outage = Outage()
        self._waiting: deque[Pointer] = deque()
        self._changed = threading.Condition()
        self._under_way = 0
        self._is_closed = self._hurries = False
        self._thread: threading.Thread | None = None

    def add(self, packed: bytes) -> None:
        """Remove the object of a packed pointer soon."""
        pointer = Pointer.unpack(packed)
        with self._changed:
            if len(self._waiting) >= MOST_WAITING or self._is_closed:
                self._on_count(0, 1)
                return
            self._waiting.append(pointer)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="removal", daemon=True)
                self._thread.start()
            self._changed.notify()

    def leave(self, count: int = 1) -> None:
        """Count objects that stay because it isn't certain that their messages are gone."""
        with self._changed:
            self._on_count(0, count)

    def hurry(self) -> None:
        """Wait for no others, because the program is stopping."""
        with self._changed:
            self._hurries = True
            self._changed.notify()

    @property
    def is_idle(self) -> bool:
        """Whether no object waits to be removed, or is being removed."""
        return not self._waiting and not self._under_way

    @property
    def is_failing(self) -> bool:
        """Whether the last call failed."""
        return bool(self._outage.failures)

    def close(self) -> None:
        """Remove nothing more, and count what still waits."""
        with self._changed:
            self._is_closed = True
            rest = len(self._waiting) + self._under_way
            self._waiting.clear()
            if rest:
                self._on_count(0, rest)
                log.warning(
                    "stopped before the objects of all deleted messages were removed; they stay in S3",
                    objects=rest,
                    reason="S3 fails, or was too slow for the drain timeout",
                    advice="remove them with a lifecycle rule of the bucket",
                )
            self._changed.notify()

    # In the thread.

    def _run(self) -> None:
        failures = 0
        while (batch := self._next()) is not None:
            again = self._remove(batch)
            with self._changed:
                self._under_way = 0
                if self._is_closed:
                    return
                # Behind the others: those of a bucket that denies it must not hold up those of another one.
                self._waiting.extend(again)
                failures = failures + 1 if again else 0
                if again:
                    self._changed.wait_for(
                        lambda: self._is_closed, RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1]
                    )

    def _next(self) -> list[Pointer] | None:
        """Wait for objects, and take those of one bucket; ``None`` at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            if not self._is_closed and not self._hurries:
                full = lambda: len(self._waiting) >= BATCH or self._is_closed or self._hurries  # noqa: E731
                self._changed.wait_for(full, GATHER_SECONDS)
            if self._is_closed:
                return None
            bucket = self._waiting[0].bucket
            batch: list[Pointer] = []
            others: deque[Pointer] = deque()
            while self._waiting and len(batch) < BATCH:
                pointer = self._waiting.popleft()
                (batch if pointer.bucket == bucket else others).append(pointer)
            self._waiting.extendleft(reversed(others))
            self._under_way = len(batch)
            return batch

    def _remove(self, batch: Sequence[Pointer]) -> list[Pointer]:
        """Remove objects of one bucket; return those to try again."""
        plain = [pointer for pointer in batch if _PLAIN_KEY.fullmatch(pointer.key)]
        again = self._remove_together(plain) if len(plain) > 1 else self._remove_singly(plain)
        return again + self._remove_singly(pointer for pointer in batch if not _PLAIN_KEY.fullmatch(pointer.key))

    def _remove_together(self, batch: Sequence[Pointer]) -> list[Pointer]:
        keys = [{"Key": key} for key in {pointer.key for pointer in batch}]
        bucket = batch[0].bucket
        answer = self._called(lambda s3: s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True}))
        if isinstance(answer, S3Failure):
            if answer.is_general:
                self._failed(answer, batch[0])
                return list(batch)
            return self._remove_singly(batch)
        refused = {each.get("Key"): f"{each.get('Code')}: {each.get('Message')}" for each in answer.get("Errors", ())}
        kept = [pointer for pointer in batch if pointer.key in refused]
        self._count(len(batch) - len(kept), 0)
        if not kept:
            self._worked()
        return self._remove_singly(kept)

    def _remove_singly(self, batch: Iterable[Pointer]) -> list[Pointer]:
        again: list[Pointer] = []
        for pointer in batch:
            if again:
                again.append(pointer)
                continue
            s3_failure = self._called(partial(_delete_object, pointer))
            if not isinstance(s3_failure, S3Failure):
                self._count(1, 0)
                self._worked()
                continue
            self._failed(s3_failure, pointer)
            if s3_failure.is_general:
                again.append(pointer)
            else:
                self._count(0, 1)
        return again

    def _called(self, call: Callable[[Any], Any]) -> Any:
        """Return the answer of a call, or the S3Failure that it met. The client is made again after each s3_failure."""
        try:
            if self._client is None:
                self._client = self._connect(self._settings)
            return call(self._client)
        except CannotStart as error:
            return S3Failure(S3_FAILS, str(error), True)
        except CALL_ERRORS as error:
            return s3_failure_of(error, self._client.meta.endpoint_url)

    def _count(self, removed: int, left: int) -> None:
        with self._changed:
            self._under_way -= removed + left
            self._on_count(removed, left)

    def _worked(self) -> None:
        if failures := self._outage.worked(time.monotonic()):
            log.info("objects can be removed again", failures=failures)

    def _failed(self, s3_failure: S3Failure, pointer: Pointer) -> None:
        self._client = None
        if (due := self._outage.failed(s3_failure.reason, time.monotonic(), time.time())) is not None:
            log.warning(
                "cannot remove an object whose message was delivered; trying again",
                object=str(pointer),
                reason=s3_failure.detail,
                advice=_DENIED if s3_failure.reason == S3_DENIES else BY_REASON[S3_FAILS],
                **due,
            )


def _delete_object(pointer: Pointer, s3: Any) -> None:
    s3.delete_object(Bucket=pointer.bucket, Key=pointer.key)
