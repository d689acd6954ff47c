"""The settler under stress: extensions race with outcomes for many receipts, on a clock of our own, against an SQS that
answers late and in any order, fails for a while, and loses requests and answers.

What must hold, whatever happens: one call at a time for a receipt; the last word of its sender is the last thing that
SQS is asked for; nothing is asked for a message that SQS shows to somebody else; and every receipt comes to an end.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier.auditor.held_receipts import NOTHING, HeldReceipt
from courier.errors import SqsError
from courier.lease import hidden_seconds, lease_end
from courier.message import Handle
from courier.sqs.batch import EntryFailure
from tests.examples import examples
from tests.unit.auditor.settler_stage import THROTTLED, Stage
from tests.unit.virtual_time import Clock, run_virtually

VISIBILITY = 4
SWEEP_SECONDS = 0.4
NOT_IN_FLIGHT = EntryFailure("MessageNotInflight", "shown again", sender_fault=True)

DELIVERED = "delivered"
REJECTED = "rejected"
REFUSED = "rejected, and refused by the failure queue"
GIVEN_BACK = "retry or release"
NEVER = "its sender was killed"

TENTHS = st.integers(0, 60).map(lambda tenths: tenths / 10)


class Script(NamedTuple):
    """What becomes of one message: its sender asks for extensions until its outcome, each so long after the last.

    All in seconds. ``recorded_after`` is how long its record takes, and ``letter_after`` its letter. ``late`` asks for
    extensions after the outcome, in vain.
    """

    begins: float
    extensions: list[float]
    outcome: str
    outcome_after: float
    delay: int
    recorded_after: float
    letter_after: float
    late: list[float]
    group: str


SCRIPTS = st.builds(
    Script,
    begins=TENTHS,
    extensions=st.lists(TENTHS, max_size=4),
    outcome=st.sampled_from([DELIVERED, REJECTED, REFUSED, GIVEN_BACK, GIVEN_BACK, NEVER]),
    outcome_after=TENTHS,
    # Never the visibility timeout itself, so that a call says by its seconds whether it is an extension.
    delay=st.sampled_from([0, 0, 1, 3, 9]),
    recorded_after=TENTHS,
    letter_after=TENTHS,
    late=st.lists(TENTHS, max_size=2),
    group=st.sampled_from("ab"),
)


class Faults(NamedTuple):
    """What SQS does until it is well again, by chance: in shares of the calls, or of the entries."""

    seed: int
    slowest: float
    lost_requests: float
    lost_answers: float
    throttled: float


FAULTS = st.builds(
    Faults,
    seed=st.integers(0, 2**32),
    slowest=st.sampled_from([0.0, 0.1, 1.0, 3.0]),
    lost_requests=st.sampled_from([0.0, 0.1, 0.9]),
    lost_answers=st.sampled_from([0.0, 0.1, 0.9]),
    throttled=st.sampled_from([0.0, 0.3, 0.9]),
)
WELL_AGAIN = 30.0


class Receipt:
    """What SQS and an onlooker know of one message."""

    def __init__(self, name: str, now: float, group: str) -> None:
        self.name = name
        self.group = group
        self.received_at = now
        self.visible_at = now + VISIBILITY
        self.lease = lease_end(now, VISIBILITY, now)
        self.outcome = ""
        self.delay = 0
        self.deletable_since = 0
        self.letter_waits = False
        self.deleted = False
        self.given_back = False
        self.gone = False
        self.delete_tried = False
        self.calling = False

    def handle(self, lease: float) -> Handle:
        return Handle(self.name, self.name, lease, self.received_at, self.group)


class RacingSqs:
    """SQS, and the onlooker who sees each call and checks it against what was asked for and answered until then."""

    def __init__(self, clock: Clock, faults: Faults, *, fifo: bool) -> None:
        self.receipts: dict[str, Receipt] = {}
        self.deletes: Counter[str] = Counter()
        self._clock = clock
        self._faults = faults
        self._fifo = fifo
        self._chance = random.Random(faults.seed)
        self._well_again = clock.now + WELL_AGAIN

    async def delete(self, names: Sequence[str], /) -> list[EntryFailure | None]:
        receipts = [self.receipts[name] for name in names]
        for receipt in receipts:
            assert receipt.deletable_since, "deleted without a durable record"
            assert not receipt.letter_waits, "deleted before the failure queue had it"
            receipt.delete_tried = True
            if self._fifo:
                self._check_order(receipt, receipts)
        return await self._call("DeleteMessageBatch", [(receipt, None) for receipt in receipts])

    async def change_visibility(self, entries: Sequence[tuple[str, int]], /) -> list[EntryFailure | None]:
        now = self._clock.now
        for name, seconds in entries:
            receipt = self.receipts[name]
            assert now < receipt.lease, "asked for a message that may be somebody else's"
            if receipt.outcome in (GIVEN_BACK, REFUSED) and receipt.deletable_since == 0:
                assert seconds == hidden_seconds(receipt.delay, receipt.received_at, now), "extended after its outcome"
            else:
                assert seconds == VISIBILITY, "neither given back nor extended"
        return await self._call(
            "ChangeMessageVisibilityBatch", [(self.receipts[name], seconds) for name, seconds in entries]
        )

    def _check_order(self, receipt: Receipt, batch: list[Receipt]) -> None:
        for other in self.receipts.values():
            if other.group == receipt.group and 0 < other.deletable_since < receipt.deletable_since:
                assert other.deleted or other.gone or other in batch[: batch.index(receipt)], "a group out of order"

    async def _call(self, action: str, entries: list[tuple[Receipt, int | None]]) -> list[EntryFailure | None]:
        started = self._clock.now
        for receipt, _ in entries:
            assert not receipt.calling, "two calls at once for one receipt"
            receipt.calling = True
        try:
            await self._take_time()
            self._lose(action, self._faults.lost_requests)
            results = [self._apply(receipt, seconds) for receipt, seconds in entries]
            await self._take_time()
            self._lose(action, self._faults.lost_answers)
        finally:
            for receipt, _ in entries:
                receipt.calling = False
        for (receipt, seconds), failure in zip(entries, results, strict=True):
            if failure is None and seconds == VISIBILITY:
                receipt.lease = lease_end(started, seconds, receipt.received_at)
        return results

    async def _take_time(self) -> None:
        if not self._is_well:
            await asyncio.sleep(self._chance.random() * self._faults.slowest)

    def _lose(self, action: str, share: float) -> None:
        if not self._is_well and self._chance.random() < share:
            raise SqsError(action, "network", "connection reset", retriable=True)

    def _apply(self, receipt: Receipt, seconds: int | None) -> EntryFailure | None:
        now = self._clock.now
        if not self._is_well and self._chance.random() < self._faults.throttled:
            return THROTTLED
        if receipt.visible_at <= now and (seconds is not None or self._fifo):
            receipt.gone = True
            return NOT_IN_FLIGHT
        if seconds is None:
            receipt.deleted = True
        else:
            receipt.visible_at = now + seconds
            receipt.given_back = receipt.outcome in (GIVEN_BACK, REFUSED)
        return None

    @property
    def _is_well(self) -> bool:
        return self._clock.now >= self._well_again


class Race:
    """One run: the scripts, a settler, and its sweep."""

    def __init__(self, scripts: list[Script], faults: Faults, *, fifo: bool) -> None:
        self.clock = Clock()
        self.sqs = RacingSqs(self.clock, faults, fifo=fifo)
        self._scripts = scripts
        self._fifo = fifo
        self._deletable = 0

    def run(self) -> None:
        run_virtually(self.clock, self._run())

    async def _run(self) -> None:
        stage = Stage(VISIBILITY, fifo=self._fifo, calls=self.sqs)
        self.settler, self.held = stage.settler, stage.held
        loop = asyncio.get_running_loop()
        sweeping = loop.create_task(self._sweep_forever())
        await asyncio.gather(*(self._play(f"m{n}", script) for n, script in enumerate(self._scripts)))
        end = max(loop.time(), 1_000.0 + WELL_AGAIN) + 15 * VISIBILITY
        while self.held and loop.time() < end:
            await asyncio.sleep(0.1)
        sweeping.cancel()
        await self.settler.close()
        assert not self.held, "some receipts never came to an end"
        await asyncio.sleep(2 * VISIBILITY)

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.settler.extend_waiting()
            wanting = [held for held in self.held.values() if held.goal != NOTHING]
            assert self.held.unsettled() == len(wanting)

    async def _play(self, name: str, script: Script) -> None:
        await asyncio.sleep(script.begins)
        receipt = self.sqs.receipts[name] = Receipt(name, self.clock.now, script.group)
        lease = receipt.lease
        for after in script.extensions:
            await asyncio.sleep(after)
            # As the sender does it: not past the lease, which it takes for extended from then on.
            if lease <= self.clock.now:
                break
            self._extend(receipt, lease)
            lease = lease_end(self.clock.now, VISIBILITY, receipt.received_at)
        await asyncio.sleep(script.outcome_after)
        await self._conclude(receipt, script, lease)
        for after in script.late:
            await asyncio.sleep(after)
            if name in self.held:
                self._extend(receipt, lease_end(self.clock.now, VISIBILITY, receipt.received_at))

    def _extend(self, receipt: Receipt, lease: float) -> None:
        held = self._hold(receipt, lease, extends=True)
        if held is not None:
            self.settler.extend(held)

    def _hold(self, receipt: Receipt, lease: float, *, extends: bool) -> HeldReceipt | None:
        return self.held.hold(receipt.handle(lease), extends=extends)

    async def _conclude(self, receipt: Receipt, script: Script, lease: float) -> None:
        receipt.delay = script.delay
        if script.outcome == GIVEN_BACK:
            receipt.outcome = GIVEN_BACK
            held = self._hold(receipt, lease, extends=False)
            if held is not None:
                self.settler.change(held, script.delay)
        elif script.outcome != NEVER:
            held = self.held.hold_delivered(receipt.handle(lease))
            await asyncio.sleep(script.recorded_after)
            if script.outcome == DELIVERED:
                self._delete(receipt, held)
            else:
                await self._reject(receipt, script, held)

    def _delete(self, receipt: Receipt, held: HeldReceipt) -> None:
        receipt.outcome = DELIVERED
        self._deletable += 1
        receipt.deletable_since = self._deletable
        self.settler.delete(held)

    async def _reject(self, receipt: Receipt, script: Script, held: HeldReceipt) -> None:
        """Do with a rejected message as the auditor does: on a FIFO queue it takes its place among the deletes."""
        held.letter = b"letter"
        receipt.letter_waits = True
        if self._fifo:
            self._delete(receipt, held)
        await asyncio.sleep(script.letter_after)
        held.letter = b""
        receipt.letter_waits = False
        if script.outcome == REFUSED:
            receipt.outcome = REFUSED
            receipt.deletable_since = 0
            self.settler.change(held, script.delay)
            return
        if not self._fifo:
            self._deletable += 1
            receipt.deletable_since = self._deletable
        self.settler.letter_taken(held)


@settings(max_examples=examples(200), deadline=None)
@given(scripts=st.lists(SCRIPTS, min_size=1, max_size=30), faults=FAULTS, fifo=st.booleans())
def test_whatever_races_each_receipt_has_one_call_at_a_time_its_last_word_last_and_an_end(
    scripts: list[Script], faults: Faults, fifo: bool
) -> None:
    race = Race(scripts, faults, fifo=fifo)
    with capture_logs():
        race.run()
    now = race.clock.now
    for receipt in race.sqs.receipts.values():
        if receipt.deletable_since:
            assert receipt.delete_tried
            assert receipt.deleted or receipt.gone, "delivered, recorded, and neither deleted nor shown again"
        else:
            assert not receipt.deleted
            assert receipt.visible_at <= now or receipt.given_back, "neither deleted nor shown again"
