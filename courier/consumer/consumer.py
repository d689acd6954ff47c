"""A consumer: receives from SQS when there is room, and hands each message, or each run of a group, to the senders.

While messages come, several receives are in progress at once. SQS is 10 to 20 ms away, so one call after another would
bring only a few hundred messages a second. On an idle queue there is one long poll, of the first consumer: the others
sleep until they are called in.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from courier.audit.event import CORRUPT, EventRecorder, no_events
from courier.audit.recorded_ids import RecordedIds
from courier.board import tally
from courier.board.depths import OldestReceived
from courier.consumer.duplicates import split_duplicates
from courier.consumer.duty import Duty
from courier.consumer.handover import Handover, packets, poll_grace
from courier.consumer.intake import Intake, RouteWork
from courier.consumer.pace import ReceivePace
from courier.consumer.pause_watch import PauseWatch
from courier.consumer.polls import Poll, Polls
from courier.consumer.routed_handover import RoutedHandover
from courier.consumer.routing import Router
from courier.errors import SqsError
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.life import Life, Role
from courier.sqs.advice import advice
from courier.sqs.calls import ReceiveClient
from courier.sqs.received import Received

SHORT_WAIT_SECONDS: Final = 1
"""The long poll of a receive that isn't the only one: on an empty queue, one full-length long poll is enough."""

LOOK_AHEAD_SECONDS: Final = 1.5
"""If a receive becomes overdue in this many seconds or later, the next beat is soon enough to set a timer for it."""

log = structlog.get_logger("courier.consumer")


class ConsumerOptions(NamedTuple):
    """The options of a consumer. Times are seconds.

    ``most_receives`` are the receives that the queue's redrive policy allows, ``None`` without one.
    """

    batch_size: int
    wait_time: int
    poll_interval: float
    visibility: int
    fifo: bool
    rate_limit: float | None = None
    routes: Sequence[RouteWork] = ()
    most_receives: int | None = None


class Consumer(Role):
    """One consumer: checks for room whenever a receive has ended, or a moment later if there was none."""

    def __init__(
        self,
        life: Life,
        work: Channel,
        acks: Channel,
        client: ReceiveClient,
        options: ConsumerOptions,
        events: EventRecorder = no_events,
        recorded: RecordedIds | None = None,
    ) -> None:
        """Write to ``work`` and ``acks``. The client is this process's own.

        What ``recorded`` recognises isn't handed over, but deleted.
        """
        self._life = life
        self._words = life.slot.words
        self._oldest = OldestReceived(life.slot)
        self._client = client
        self._options = options
        self._intake = Intake(
            life.slot,
            life.board,
            (work, acks),
            options.batch_size,
            options.visibility,
            options.rate_limit,
            time.monotonic(),
            options.routes,
        )
        self._pool = self._intake.pools[0]
        self._pace = ReceivePace(options.poll_interval, self._intake.distance)
        self._handover = Handover(life, work, acks, options.fifo, events)
        self._routed = self._routed_handover(acks, events) if options.routes else None
        self._recorded = recorded
        self._polls = Polls()
        self._pause = PauseWatch(life, self._paused, self._cut_polls, self._resumed)
        self._duty = Duty(
            life,
            self._called_in,
            options.batch_size,
            always=options.poll_interval > 0,
            on_ring=self._pause.follow,
        )
        self._handing_over: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._lost_attempts: list[str] = []

    def _routed_handover(self, acks: Channel, events: EventRecorder) -> RoutedHandover:
        options, handovers = self._options, [self._handover]
        for place, route in enumerate(options.routes, 1):
            handovers.append(Handover(self._life, route.work, acks, options.fifo, events, place))
        router = Router([route.match for route in options.routes])
        pools, most = self._intake.pools, options.most_receives
        return RoutedHandover(self._life.slot, router, pools, handovers, most, fifo=options.fifo)

    def start(self) -> None:
        """Start to receive, unless other consumers are enough."""
        self._duty.start()
        self._start_receives()

    def beat(self) -> None:
        """Look whether this consumer is needed. Set a timer for a receive that becomes overdue soon."""
        self._pause.follow()
        self._duty.beat()
        seconds = self._polls.look(time.monotonic())
        if seconds < LOOK_AHEAD_SECONDS and self._timer is None:
            self._start_receives_in(max(0.0, seconds))

    async def drain(self) -> None:
        """Give open polls their grace, then hand over or release what they bring."""
        self._duty.stop()
        self._pause.stop()
        if self._timer is not None:
            self._timer.cancel()
        await self._end_receives()

    async def close(self) -> None:
        """Withdraw the claims on the board, and close the client."""
        self._words[scoreboard.ASKED] = 0
        self._client.close()

    def _called_in(self) -> None:
        # During a drain of the whole program, the first consumers that stop ring for the others. A receive that starts
        # now would bring messages that nobody may deliver.
        if self._life.board.supervisor.words[scoreboard.STATE] != scoreboard.DRAINING:
            self._start_receives()

    def _start_receives(self) -> None:
        """Start as many receives as there is room for. If there is none, check again soon; in a pause, at its end."""
        is_paused = self._pause.follow()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._life.draining.is_set() or is_paused:
            return
        now, polls = time.monotonic(), self._polls
        # What they asked for is room for others now.
        self._words[scoreboard.ASKED] -= polls.become_overdue(now)
        if self._duty.rests(has_trouble := self._has_trouble()):
            return
        starts_at = self._pace.starts_at()
        if now < starts_at:
            self._duty.look(0, 0, has_trouble)
            self._start_receives_in(starts_at - now)
            return
        more = (1 if polls.is_silent else self._pace.window) - polls.on_time
        asks = self._intake.claim(now, more) if more > 0 else []
        self._duty.look(self._pace.crowded, self._intake.left, has_trouble)
        if asks:
            self._pace.note_room()
        for asked in asks:
            poll = polls.begin(asked, self._wait_time(), now)
            # Kept in the poll: on Python 3.11, to ask for the current task is a system call.
            poll.task = task = self._life.loop.create_task(self._receive(poll))
            polls.tasks[task] = poll
            task.add_done_callback(self._ended)
        if len(asks) < more:
            self._duty.is_needed = False
            self._start_receives_in(self._pace.next_look())
        elif polls.is_silent:
            self._start_receives_in(max(0.0, polls.look(now)))

    def _paused(self) -> None:
        # It counts on nobody: a consumer that it called in couldn't receive either.
        self._duty.look(0, 0, False)

    def _cut_polls(self) -> None:
        for task, poll in [*self._polls.tasks.items()]:
            self._words[scoreboard.ASKED] -= 0 if poll.is_overdue else poll.asked
            if poll.attempt_id is not None:
                # Messages of a group may have been on their way. After the pause the same id brings them again.
                self._lost_attempts.append(poll.attempt_id)
            self._polls.end(task)
            task.cancel()

    def _resumed(self) -> None:
        self._pace.note_room()
        self._start_receives()

    def _has_trouble(self) -> bool:
        """Return whether receives of this consumer fail, get no answer, or may have lost the messages of a group."""
        return self._polls.is_silent or self._lost_attempts != [] or self._pace.failures > 0

    def _wait_time(self) -> int:
        """Return the seconds of the next long poll."""
        if self._pace.failures or self._polls.is_silent:
            # A short poll shows at once whether SQS answers again; an empty queue answers a long one at its end.
            return 0
        longest = SHORT_WAIT_SECONDS if self._polls.on_time else self._pace.longest_wait()
        return min(self._options.wait_time, longest)

    def _start_receives_in(self, seconds: float) -> None:
        self._timer = self._life.loop.call_later(seconds, self._start_receives)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._polls.end(task)
        self._handing_over.discard(task)
        if not task.cancelled():
            task.result()
            self._pace.note_room()
            self._start_receives()

    async def _receive(self, poll: Poll) -> None:
        """Make one receive and hand over its messages. What it asks for is claimed on the board, and given back."""
        options, asked = self._options, poll.asked
        attempt_id = None
        if options.fifo:
            attempt_id = self._lost_attempts.pop() if self._lost_attempts else uuid.uuid4().hex
            poll.attempt_id = attempt_id
        try:
            received = await self._client.receive(asked, poll.wait_time, options.visibility, attempt_id=attempt_id)
        except SqsError as error:
            # In between the end of the receive and of the task, it could become overdue and give its claim back twice.
            self._polls.end(poll.task)
            self._words[scoreboard.ASKED] -= 0 if poll.is_overdue else asked
            self._receive_failed(error, poll.began, attempt_id)
            return
        self._polls.end(poll.task)
        self._handing_over.add(poll.task)
        if poll.is_overdue:
            self._words[scoreboard.ASKED] += asked
        self._received(received, poll)
        messages, left = received.messages, asked
        if self._recorded is not None:
            messages, duplicates = split_duplicates(messages, self._recorded, fifo=options.fifo)
            if duplicates:
                # First, because on a FIFO queue the deletes of a group keep its order.
                await self._handover.delete(duplicates)
        if messages:
            if self._routed is None:
                left = await self._handover.hand_over(packets(messages, options.fifo, self._pool.bundle), asked)
            else:
                left = await self._routed.hand_over(messages, asked)
        self._words[scoreboard.ASKED] -= left
        for handle, delay in received.hidden:
            await self._handover.retry(handle, delay, CORRUPT)

    def _received(self, received: Received, poll: Poll) -> None:
        slot, now = self._life.slot, time.monotonic()
        self._polls.answered(poll, now)
        if failures := self._pace.answered(len(received.messages) + received.corrupt, poll.asked, poll.began, now):
            log.info("receiving again", failures=failures)
        if not self._pace.brought_much:
            self._duty.is_needed = False
        tally.note_success(slot, tally.RECEIVE)
        slot.reals[scoreboard.LAST_RECEIVE] = now
        self._words[scoreboard.RECEIVED] += len(received.messages)
        self._words[scoreboard.CORRUPT] += received.corrupt
        if received.messages:
            if self._routed is None:
                slot.reals[scoreboard.PROBED_AT] = now
            self._oldest.note(min([message.sent_ms for message in received.messages]), now)

    def _receive_failed(self, error: SqsError, began: float, attempt_id: str | None) -> None:
        now = time.monotonic()
        tally.note_failure(self._life.slot, tally.RECEIVE, error.code, now)
        if attempt_id is not None and error.retriable:
            # The lost answer may hold messages, whose groups stay locked. The same id brings them again.
            self._lost_attempts.append(attempt_id)
        due = self._pace.failed(error.code, began, now)
        if self._lost_attempts:
            # It may have failed while this consumer was on standby already.
            self._duty.come()
        # The failure affects all consumers alike, so only one of them repeats the line.
        if due is not None and (self._pace.failures == 1 or self._is_first(now)):
            log.warning(
                "cannot receive, trying again",
                code=error.code,
                detail=error.detail,
                advice=advice(error),
                retriable=error.retriable,
                **due,
            )

    def _is_first(self, now: float) -> bool:
        return self._life.board.beating("consumer", now)[:1] == [self._life.slot]

    async def _end_receives(self) -> None:
        """Give open polls their grace, cut them, and wait until their messages are handed over or released."""
        began, receiving = time.monotonic(), self._polls.tasks
        # The deadline may move closer meanwhile.
        while receiving and time.monotonic() - began < poll_grace(self._life, began):
            await asyncio.wait([*receiving], timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
        for task in receiving:
            task.cancel()
        if receiving or self._handing_over:
            await asyncio.wait([*receiving, *self._handing_over])
