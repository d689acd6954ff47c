"""Random histories of a queue, held against a plain model of it: a list, and no cleverness."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from courier.local.virtual.content import read_message
from courier.local.virtual.errors import ServiceError
from courier.local.virtual.message_store import MessageCounts
from courier.local.virtual.queue import VirtualQueue
from courier.local.virtual.registry import Registry
from tests.examples import examples

MAX_RECEIVES: Final = 3
VISIBILITY: Final = 10
SECONDS: Final = st.integers(0, 25)


@dataclass
class Known:
    """What the model knows of a message."""

    number: int
    group: str
    due: float
    receives: int = 0
    receipt: str = ""
    in_flight: bool = False


class QueueHistory(RuleBasedStateMachine):
    fifo = False

    @initialize()
    def make_queues(self) -> None:
        self.now = 1000.0
        self.number = 0
        self.known: dict[str, Known] = {}
        self.old_receipts: list[tuple[str, int]] = []
        registry = Registry()
        suffix, kind = (".fifo", {"FifoQueue": "true"}) if self.fifo else ("", {})
        self.dead = registry.create(f"dead{suffix}", kind, self.now)
        policy = json.dumps({"deadLetterTargetArn": self.dead.arn, "maxReceiveCount": MAX_RECEIVES})
        attributes = {**kind, "RedrivePolicy": policy, "VisibilityTimeout": str(VISIBILITY)}
        self.queue: VirtualQueue = registry.create(f"queue{suffix}", attributes, self.now)

    # What the model expects.

    def visible(self) -> list[Known]:
        return [k for k in self.known.values() if k.due <= self.now]

    def receivable(self) -> list[Known]:
        """What a receive may give: on a FIFO queue nothing behind an older message of its group that is hidden."""
        if not self.fifo:
            return self.visible()
        found = []
        blocked = set()
        for k in sorted(self.known.values(), key=lambda k: k.number):
            if k.due > self.now:
                blocked.add(k.group)
            elif k.group not in blocked:
                found.append(k)
        return found

    def settle_due(self) -> None:
        for k in self.known.values():
            if k.due <= self.now:
                k.in_flight = False

    # What happens.

    @rule(delay=st.sampled_from([0, 0, 0, 5]), group=st.sampled_from("xyz"))
    def send(self, delay: int, group: str) -> None:
        self.number += 1
        message = read_message({"MessageBody": str(self.number)})
        if self.fifo:
            message.group = group
            message.deduplication_id = str(self.number)
            delay = 0
        accepted = self.queue.send(message, self.now, delay)
        self.known[accepted.message_id] = Known(self.number, message.group, self.now + delay)

    @rule(count=st.integers(1, 10), visibility=st.one_of(st.none(), SECONDS))
    def receive(self, count: int, visibility: int | None) -> None:
        self.settle_due()
        could = self.receivable()
        fit = [k for k in could if k.receives < MAX_RECEIVES]
        messages = self.queue.receive(count, self.now, visibility)
        given = [self.known[m.message_id] for m in messages]
        assert len({k.number for k in given}) == len(given) == min(count, len(fit))
        assert all(k in fit for k in given)
        if not self.fifo:
            assert [k.number for k in given] == sorted(k.number for k in fit)[: len(given)]
        else:
            for group in {k.group for k in given}:
                order = [k.number for k in given if k.group == group]
                assert order == sorted(k.number for k in fit if k.group == group)[: len(order)]
        hidden = VISIBILITY if visibility is None else visibility
        for message, k in zip(messages, given, strict=True):
            k.receives += 1
            assert message.receive_count == k.receives
            if k.receipt:
                self.old_receipts.append((k.receipt, k.number))
            k.receipt = self.queue.receipt(message)
            k.due = self.now + hidden
            k.in_flight = True
        self.note_dead_letters(could, len(given) < count)

    def note_dead_letters(self, could: list[Known], drained: bool) -> None:
        moved = [i for i, k in self.known.items() if i not in {m.message_id for m in self.queue._live.values()}]
        assert all(self.known[i].receives == MAX_RECEIVES and self.known[i] in could for i in moved)
        if drained:
            assert len(moved) == sum(k.receives == MAX_RECEIVES and not k.in_flight for k in could)
        assert {m.message_id for m in self.dead._live.values()} >= set(moved)
        for message_id in moved:
            del self.known[message_id]

    @precondition(lambda self: any(k.receipt for k in self.known.values()))
    @rule(choice=st.integers(0, 1000))
    def delete(self, choice: int) -> None:
        self.settle_due()
        received = [(i, k) for i, k in self.known.items() if k.receipt]
        message_id, k = received[choice % len(received)]
        if self.fifo and not k.in_flight:
            with pytest.raises(ServiceError, match="has expired"):
                self.queue.delete(k.receipt, self.now)
            return
        self.queue.delete(k.receipt, self.now)
        self.old_receipts.append((k.receipt, k.number))
        del self.known[message_id]

    @precondition(lambda self: any(k.receipt for k in self.known.values()))
    @rule(choice=st.integers(0, 1000), timeout=SECONDS)
    def change_visibility(self, choice: int, timeout: int) -> None:
        self.settle_due()
        received = [k for k in self.known.values() if k.receipt]
        k = received[choice % len(received)]
        if self.fifo and not k.in_flight:
            with pytest.raises(ServiceError, match="not available"):
                self.queue.change_visibility(k.receipt, timeout, self.now)
            return
        self.queue.change_visibility(k.receipt, timeout, self.now)
        k.due = self.now + timeout if timeout or k.in_flight else k.due
        k.in_flight = k.due > self.now

    @precondition(lambda self: self.old_receipts)
    @rule(choice=st.integers(0, 1000), timeout=SECONDS)
    def use_an_old_receipt(self, choice: int, timeout: int) -> None:
        self.settle_due()
        receipt, number = self.old_receipts[choice % len(self.old_receipts)]
        k = next((k for k in self.known.values() if k.number == number), None)
        if self.fifo or k is None:
            with pytest.raises(ServiceError, match="not available"):
                self.queue.change_visibility(receipt, timeout, self.now)
        else:
            self.queue.change_visibility(receipt, timeout, self.now)
            k.due = self.now + timeout if timeout or k.in_flight else k.due
            k.in_flight = k.due > self.now
        try:
            self.queue.delete(receipt, self.now)
        except ServiceError:
            assert self.fifo
            assert k is not None

    @rule(seconds=SECONDS)
    def let_time_pass(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def purge(self) -> None:
        if self.number % 7 == 0:
            self.old_receipts += [(k.receipt, k.number) for k in self.known.values() if k.receipt]
            self.queue.purge()
            self.known.clear()

    # What always holds.

    @invariant()
    def no_message_is_lost_and_none_is_in_two_places(self) -> None:
        here = [m.message_id for m in self.queue._live.values()]
        there = [m.message_id for m in self.dead._live.values()]
        assert sorted(here) == sorted(self.known)
        assert not set(here) & set(there)

    @invariant()
    def the_counts_add_up(self) -> None:
        self.settle_due()
        visible = len(self.visible())
        in_flight = sum(k.in_flight for k in self.known.values())
        expected = MessageCounts(visible, in_flight, len(self.known) - visible - in_flight)
        assert self.queue.counts(self.now) == expected

    @invariant()
    def the_next_change_is_not_overlooked(self) -> None:
        due = [k.due for k in self.known.values() if k.due > self.now]
        change = self.queue.next_change()
        if due:
            assert change is not None
            assert change <= min(due)

    @invariant()
    def something_can_be_received_if_and_only_if_the_queue_says_so(self) -> None:
        assert self.queue.has_receivable(self.now) == bool(self.receivable())


class FifoHistory(QueueHistory):
    fifo = True


@pytest.mark.parametrize("history", [QueueHistory, FifoHistory], ids=["standard", "fifo"])
def test_a_queue_behaves_like_its_model_whatever_happens(history: type[QueueHistory]) -> None:
    run_state_machine_as_test(
        history, settings=settings(max_examples=examples(100), stateful_step_count=40, deadline=None)
    )
