"""The watcher's role: it asks the platform whether this machine or task ends, and says so on the board.

It is a process of its own, so nothing else waits for the platform. It drains last: when the others are gone, it
completes the lifecycle action that keeps the instance.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from courier.errors import CourierError
from courier.leaving.metadata import Poll, Unavailable
from courier.leaving.notice import Notice
from courier.leaving.protection import Protection
from courier.log.outage import Outage
from courier.process import scoreboard
from courier.process.departure import (
    LIFECYCLE,
    NOTICES,
    WORDS_OF,
    Departure,
    departure_of,
    monotonic_of,
    write_departure,
)
from courier.process.life import Life, Role
from courier.process.scoreboard import Scoreboard
from courier.recipient.policy import Backoff

POLL_SECONDS: Final = 5.0
"""Seconds between two polls, which is what AWS recommends: a spot instance ends two minutes after its notice."""

BACKOFF: Final = Backoff(POLL_SECONDS, 60.0)

EXTEND_SECONDS: Final = 15.0
"""Seconds between two extensions of the lifecycle hook during a drain. The shortest hook waits for 30."""

HOOK_SECONDS: Final = 10.0
"""Seconds that completing the hook may take after everything else has drained."""

RETRY_SECONDS: Final = 0.5
CLOSING_SECONDS: Final = 1.0
"""Seconds for ending the protection of the task, after the drain."""

SAMPLE_SECONDS: Final = 1.0

log = structlog.get_logger("courier.watcher")


class Source(Protocol):
    """The metadata of the platform."""

    async def poll(self) -> Poll:
        """Return the notices in force."""

    def close(self) -> None:
        """Close the connection."""


class Hook(Protocol):
    """The lifecycle hook; the calls block, and raise CourierError."""

    def extend(self) -> bool:
        """Begin its time anew. Return ``False`` if it doesn't wait for this instance."""

    def complete(self) -> bool:
        """Let Auto Scaling go on. Return ``False`` if the hook doesn't wait for this instance any more."""


FindHook = Callable[[], Awaitable[Hook]]


class Protector(Protocol):
    """The side of ECS that protects the task."""

    async def protect(self, minutes: int) -> None:
        """Protect the task for some minutes, 0 to end it. Raise Unavailable."""

    def close(self) -> None:
        """Close the connection."""


class Watcher(Role):
    """Looks every few seconds; extends and completes the hook; keeps the protection while deliveries run."""

    def __init__(
        self,
        life: Life,
        source: Source,
        find_hook: FindHook | None = None,
        protector: Protector | None = None,
        boards: Sequence[Scoreboard] = (),
    ) -> None:
        """``find_hook`` is called once the instance is to be terminated, and raises CourierError.

        ``boards`` are those of the workers that deliver, if they aren't on the board of the watcher.
        """
        self._life = life
        self._slot = life.slot
        self._boards = boards or (life.board,)
        self._source = source
        self._find_hook = find_hook
        self._protector = protector
        self._protection = Protection()
        self._hook: Hook | None = None
        self._seen: set[str] = set()
        self._failures = 0
        self._outage = Outage()
        self._protection_outage = Outage()
        self._hook_outage = Outage()

    def start(self) -> None:
        """Start to poll."""
        self._life.start(self._watch())
        if self._find_hook is not None:
            self._life.start(self._keep_hook())
        if self._protector is not None:
            self._life.start(self._protect())

    async def drain(self) -> None:
        """End the protection, and complete the lifecycle action. The other processes are gone."""
        if self._life.orphaned:
            # They aren't: they release and commit at this moment. The next Courier here completes it.
            return
        if not self._program_drains():
            # Another watcher takes this one's place.
            return
        self._life.cancel_tasks()
        if self._protector is not None and self._protection.is_asked:
            with contextlib.suppress(TimeoutError, Unavailable):
                await asyncio.wait_for(self._protector.protect(0), CLOSING_SECONDS)
        if self._find_hook is not None:
            try:
                await asyncio.wait_for(self._complete(self._find_hook), HOOK_SECONDS)
            except TimeoutError:
                log.warning(
                    "gave up on the lifecycle action",
                    reason=f"it could not be completed within {HOOK_SECONDS:g} seconds after the drain",
                    advice="nothing: the next start completes it, or the hook's time runs out",
                )

    async def close(self) -> None:
        """Close the connections."""
        self._source.close()
        if self._protector is not None:
            self._protector.close()

    def _program_drains(self) -> bool:
        return self._life.board.supervisor.words[scoreboard.STATE] == scoreboard.DRAINING

    # The notices.

    async def _watch(self) -> None:
        while True:
            await self._poll()
            await asyncio.sleep(POLL_SECONDS if not self._failures else self._retry_in())

    def _retry_in(self) -> float:
        return max(POLL_SECONDS, BACKOFF.delay(self._failures, random.random()))

    async def _poll(self) -> Sequence[Notice]:
        found = await self._source.poll()
        now = time.monotonic()
        if found.error is not None:
            self._failures += 1
            self._slot.words[scoreboard.METADATA_FAILURES] += 1
            due = self._outage.failed(found.error.reason, now, time.time())
            if due is not None:
                log.warning(
                    "cannot ask whether this machine ends; trying again",
                    reason=found.error.reason,
                    advice=found.error.advice,
                    **due,
                )
        else:
            self._failures = 0
            if failures := self._outage.worked(now):
                log.info("asking again whether this machine ends", failures=failures)
        for notice in found.notices:
            self._note(notice)
        return found.notices

    def _note(self, notice: Notice) -> None:
        """Write a notice on the board, and log it if it is new. The first one that drains stays the reason."""
        if notice.kind not in self._seen:
            self._seen.add(notice.kind)
            number = NOTICES.index(notice.kind)
            if not self._slot.reals[scoreboard.NOTICED_AT + number]:
                self._slot.reals[scoreboard.NOTICED_AT + number] = time.monotonic()
                self._slot.words[scoreboard.NOTICES + number] += 1
                left = {} if notice.at is None else {"seconds_left": round(notice.at - time.time())}
                log.warning(
                    "the platform gives notice",
                    notice=notice.kind,
                    what=notice.what,
                    reason=WORDS_OF[notice.kind],
                    then="draining" if notice.drains else "going on as before",
                    advice="nothing" if notice.drains else "see --drain-on-rebalance, or docs/leaving.md",
                    **left,
                )
        if not notice.drains:
            return
        new = Departure(notice.kind, monotonic_of(notice.at))
        old = departure_of(self._slot)
        if old is None or new.ends_at < old.ends_at - 1.0:
            write_departure(self._slot, new)

    # The lifecycle hook.

    async def _keep_hook(self) -> None:
        """Extend the hook's time while the program drains because of it."""
        assert self._find_hook is not None
        while True:
            if self._program_drains() and self._slot.reals[_noticed(LIFECYCLE)]:
                try:
                    hook = await self._opened(self._find_hook)
                    await self._life.loop.run_in_executor(None, hook.extend)
                except CourierError as error:
                    self._hook_failed(error)
                await asyncio.sleep(EXTEND_SECONDS)
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _opened(self, find_hook: FindHook) -> Hook:
        if self._hook is None:
            self._hook = await find_hook()
        return self._hook

    async def _complete(self, find_hook: FindHook) -> None:
        """Complete the action if the instance is to be terminated, however this drain began. Try until it is done."""
        if not self._slot.reals[_noticed(LIFECYCLE)]:
            await self._poll()
        while self._slot.reals[_noticed(LIFECYCLE)]:
            try:
                hook = await self._opened(find_hook)
                was_waiting = await self._life.loop.run_in_executor(None, hook.complete)
            except CourierError as error:
                self._hook_failed(error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._slot.words[scoreboard.HOOKS_COMPLETED] += was_waiting
            log_completed(was_waiting=was_waiting)
            return

    def _hook_failed(self, error: CourierError) -> None:
        due = self._hook_outage.failed(error.reason, time.monotonic(), time.time())
        if due is not None:
            log.warning(
                "cannot complete the lifecycle action, trying again; without it Auto Scaling waits for the hook's time",
                reason=error.reason,
                advice=error.advice,
                **due,
            )

    # The protection of the task.

    async def _protect(self) -> None:
        while True:
            now = time.monotonic()
            minutes = self._protection.due(is_busy=self._is_busy(now), now=now)
            if minutes is not None:
                await self._ask_protection(minutes)
            self._slot.words[scoreboard.TASK_PROTECTED] = self._protection.is_on(time.monotonic())
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _ask_protection(self, minutes: int) -> None:
        assert self._protector is not None
        self._protection.asking(minutes)
        try:
            await self._protector.protect(minutes)
        except Unavailable as error:
            now = time.monotonic()
            self._protection.failed(minutes, now)
            due = self._protection_outage.failed(error.reason, now, time.time())
            if due is not None:
                log.warning(
                    "cannot change the scale-in protection of the task, trying again; a scale-in may cut deliveries",
                    reason=error.reason,
                    advice=error.advice,
                    **due,
                )
        else:
            now = time.monotonic()
            self._protection.worked(minutes, now)
            if failures := self._protection_outage.worked(now):
                log.info("the scale-in protection of the task can be changed again", failures=failures)

    def _is_busy(self, now: float) -> bool:
        """Return whether a delivery is in flight, or an outcome unsettled."""
        words = (scoreboard.IN_FLIGHT, scoreboard.HELD)
        return any(board.gauge(word, now) for board in self._boards for word in words)


def log_completed(*, was_waiting: bool) -> None:
    """Log that the lifecycle action is completed, by this program or by another."""
    if was_waiting:
        log.info("completed the lifecycle action; Auto Scaling goes on")
    else:
        log.info("no lifecycle action waits for this instance")


def _noticed(kind: str) -> int:
    return scoreboard.NOTICED_AT + NOTICES.index(kind)
