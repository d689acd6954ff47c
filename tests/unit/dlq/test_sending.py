"""Sending: nothing is lost by any failure, groups keep their order, and what is refused is named."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from courier.dlq import sending as module
from courier.dlq.sending import BATCH, Numbered, Refused, Sending
from courier.errors import SqsError
from courier.recipient.policy import Backoff
from courier.sqs.batch import EntryFailure, Outgoing
from tests.examples import examples


class Queue:
    """A queue that fails as it is told: as a whole before or after it took the messages, or for some entries."""

    def __init__(self, seed: int = 0, fails: float = 0.0, *, bad: frozenset[bytes] = frozenset()) -> None:
        self.taken: list[Outgoing] = []
        self.calls: list[Sequence[Outgoing]] = []
        self._random = random.Random(seed)
        self._fails = fails
        self._bad = bad

    async def send(self, messages: Sequence[Outgoing], /) -> list[EntryFailure | None]:
        self.calls.append(messages)
        await asyncio.sleep(0)
        draw = self._random.random()
        if draw < self._fails / 2:
            raise SqsError("SendMessageBatch", "ServiceUnavailable", "later", retriable=True, status=503)
        results: list[EntryFailure | None] = []
        for each in messages:
            if each.body in self._bad:
                results.append(EntryFailure("InvalidMessageContents", "no", True))
            elif self._random.random() < self._fails / 2:
                results.append(EntryFailure("InternalError", "later", False))
            else:
                results.append(None)
                self.taken.append(each)
        if draw > 1 - self._fails / 2:
            raise SqsError("SendMessageBatch", "network", "no answer", retriable=True)
        return results


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF", Backoff(0.0, 0.0))


def run(sending: Sending, source: Iterable[Numbered | Refused], stopped: asyncio.Event | None = None) -> None:
    asyncio.run(sending.run(source, stopped or asyncio.Event()))


def numbered(number: int, *, groups: int = 0, body: bytes = b"") -> Iterator[Numbered]:
    for n in range(1, number + 1):
        group = f"g{n % groups}" if groups else ""
        yield Numbered(n, Outgoing(body or b"%d" % n, (), group, f"id-{n}" if groups else ""))


@run_with(max_examples=examples(200), deadline=None)
@given(
    st.integers(0, 60),
    st.integers(0, 4),
    st.floats(0, 0.6),
    st.integers(),
    st.frozensets(st.integers(1, 60), max_size=5),
)
def test_every_message_is_taken_or_refused_whatever_fails(
    number: int, groups: int, fails: float, seed: int, bad: frozenset[int]
) -> None:
    queue = Queue(seed, fails, bad=frozenset(b"%d" % n for n in bad))
    sending = Sending(queue, fifo=groups > 0)
    source: list[Numbered | Refused] = list(numbered(number, groups=groups))
    source.append(Refused(number + 1, "it is not JSON"))
    run(sending, source)
    wrong = {n for n in bad if n <= number}
    assert {int(each.body) for each in queue.taken} == {*range(1, number + 1)} - wrong
    assert sending.sent == number - len(wrong)
    assert sending.refused == len(wrong) + 1
    assert {each.number for each in sending.refusals} == {*wrong, number + 1}
    assert sending.done == number + 1
    assert max(map(len, queue.calls), default=0) <= BATCH
    for group in {each.group for each in queue.taken} if groups else ():
        # SQS drops a repeat by its deduplication id, so the first time counts.
        order = list(dict.fromkeys(int(each.body) for each in queue.taken if each.group == group))
        assert order == sorted(order)


def test_a_call_never_has_more_than_a_mebibyte_and_large_messages_go_alone() -> None:
    queue = Queue()
    run(Sending(queue, fifo=False), numbered(12, body=b"x" * 300_000))
    assert sum(map(len, queue.calls)) == 12
    assert max(map(len, queue.calls)) <= 3
    queue = Queue()
    run(Sending(queue, fifo=False), numbered(2, body=b"x" * 2_000_000))
    assert [len(call) for call in queue.calls] == [1, 1]


def test_a_call_refused_for_each_of_its_messages_is_not_made_again() -> None:
    class Refusing(Queue):
        async def send(self, messages: Sequence[Outgoing], /) -> list[EntryFailure | None]:
            self.calls.append(messages)
            raise SqsError("SendMessageBatch", "InvalidMessageContents", "no", retriable=False, status=400)

    queue = Refusing()
    sending = Sending(queue, fifo=False)
    run(sending, numbered(3))
    assert sending.refused == sum(map(len, queue.calls)) == 3


@pytest.mark.parametrize(("code", "retriable"), [("AccessDenied", False), ("ServiceUnavailable", True)])
def test_a_queue_that_takes_nothing_ends_it_and_what_is_done_is_known(
    monkeypatch: pytest.MonkeyPatch, code: str, retriable: bool
) -> None:
    monkeypatch.setattr(module, "GIVE_UP_SECONDS", 0.05)

    class Down(Queue):
        async def send(self, messages: Sequence[Outgoing], /) -> list[EntryFailure | None]:
            if any(each.body == b"25" for each in self.taken):
                raise SqsError("SendMessageBatch", code, "no", retriable=retriable, status=403)
            return await super().send(messages)

    queue = Down()
    sending = Sending(queue, fifo=False)
    with pytest.raises(SqsError, match=code):
        run(sending, numbered(1000))
    taken = {int(each.body) for each in queue.taken}
    assert sending.sent == len(taken)
    assert {*range(1, sending.done + 1)} <= taken


def test_what_fails_entry_by_entry_for_long_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIVE_UP_SECONDS", 0.05)

    class Throttled(Queue):
        async def send(self, messages: Sequence[Outgoing], /) -> list[EntryFailure | None]:
            return [EntryFailure("RequestThrottled", "later", False)] * len(messages)

    with pytest.raises(SqsError, match="RequestThrottled"):
        run(Sending(Throttled(), fifo=False), numbered(3))


def test_an_error_of_the_source_ends_it_after_what_came_before() -> None:
    def source() -> Iterator[Numbered]:
        yield from numbered(5)
        raise ValueError("torn")

    queue = Queue()
    with pytest.raises(ValueError, match="torn"):
        run(Sending(queue, fifo=True), source())
    assert len(queue.taken) == 5


def test_a_stop_ends_a_source_that_never_does_and_finishes_what_is_under_way() -> None:
    queue = Queue()
    sending = Sending(queue, fifo=False)

    def endless() -> Iterator[Numbered]:
        number = 0
        while True:
            number += 1
            yield Numbered(number, Outgoing(b"%d" % number))

    async def act() -> None:
        stopped = asyncio.Event()
        task = asyncio.create_task(sending.run(endless(), stopped))
        while sending.sent < 100:
            await asyncio.sleep(0.001)
        stopped.set()
        await asyncio.wait_for(task, 30)

    asyncio.run(act())
    assert sending.sent == sending.done == len(queue.taken)


def test_a_slow_source_is_sent_as_it_comes() -> None:
    queue = Queue()
    sending = Sending(queue, fifo=False)

    def slow() -> Iterator[Numbered]:
        for each in numbered(3):
            yield each
            # The next one comes only when this one was sent.
            while sending.sent < each.number:
                pass

    run(sending, slow())
    assert [len(call) for call in queue.calls] == [1, 1, 1]
