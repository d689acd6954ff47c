"""Letters to the failure queue: what is batched, what is tried again, and what is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from courier.errors import SqsError
from courier.message import Attribute, Letter, pack_letter
from courier.sqs.batch import EntryFailure, Outgoing
from courier.sqs.letters import MOST_BYTES, Letters
from courier.sqs.settler import Held
from tests.unit.stage import run, until

BUSY = EntryFailure("InternalFailure", "later", sender_fault=False)
TOO_LONG = EntryFailure("InvalidMessageContents", "too long", sender_fault=True)


class Post:
    """A failure queue in the test's hand, and what the letters made of its answers."""

    def __init__(self, *, fifo: bool = False) -> None:
        self.calls: list[list[Outgoing]] = []
        self.answers: list[Exception | list[EntryFailure | None]] = []
        self.sent: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.letters = Letters(self._send, self._on_sent, self._on_refused, fifo=fifo)
        self.task = asyncio.get_running_loop().create_task(self.letters.run())

    async def _send(self, entries: Sequence[Outgoing]) -> list[EntryFailure | None]:
        self.calls.append(list(entries))
        await asyncio.sleep(0)
        nothing_wrong: list[EntryFailure | None] = [None] * len(entries)
        answer = self.answers.pop(0) if self.answers else nothing_wrong
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _on_sent(self, held: Held) -> None:
        self.sent.append(held.message_id)

    def _on_refused(self, held: Held, failure: EntryFailure) -> None:
        self.refused.append((held.message_id, failure.code))

    def add(self, name: str, body: bytes = b"body", group: str = "", **fields: str) -> None:
        attributes = tuple(Attribute(key, "String", value) for key, value in fields.items())
        held = Held(name, name, 0.0, 0.0, group)
        held.letter = pack_letter(Letter(body, attributes, ""))
        self.letters.add(held)

    def sizes(self) -> list[int]:
        return [len(call) for call in self.calls]


def broken() -> SqsError:
    return SqsError("SendMessageBatch", "network", "connection refused", retriable=True)


def test_letters_go_in_order_ten_to_a_call() -> None:
    async def scenario() -> None:
        post = Post()
        names = [f"m{n}" for n in range(23)]
        for name in names:
            post.add(name)
        await until(lambda: post.sent == names)
        assert post.sizes() == [10, 10, 3]

    run(scenario)


def test_no_call_is_larger_than_sqs_allows_attributes_counted() -> None:
    async def scenario() -> None:
        post = Post()
        post.add("a", b"x" * (MOST_BYTES // 2))
        post.add("b", b"x" * (MOST_BYTES // 2 - 50), reason="y" * 100)
        post.add("alone", b"x" * MOST_BYTES)
        post.add("c")
        await until(lambda: len(post.sent) == 4)
        assert post.sizes() == [1, 1, 1, 1]

    run(scenario)


def test_a_failure_queue_that_is_away_is_asked_again_with_everything_and_told_once() -> None:
    async def scenario() -> None:
        post = Post()
        post.answers = [broken(), broken()]
        with capture_logs() as logs:
            post.add("a")
            post.add("b")
            await until(lambda: post.sent == ["a", "b"])
        assert post.sizes() == [2, 2, 2]
        assert [line["event"] for line in logs] == [
            "the failure queue takes nothing, trying again",
            "the failure queue takes rejected messages again",
        ]

    run(scenario)


def test_only_the_entries_that_failed_are_sent_again_before_what_came_later() -> None:
    async def scenario() -> None:
        post = Post()
        post.answers = [[None, BUSY, None, BUSY]]
        for name in ("a", "b", "c", "d"):
            post.add(name)
        await until(lambda: post.sent == ["a", "c"])
        post.add("later")
        await until(lambda: len(post.sent) == 5)
        assert post.sent == ["a", "c", "b", "d", "later"]
        assert not post.refused

    run(scenario)


def test_what_is_refused_for_good_is_given_up_and_holds_up_nobody() -> None:
    async def scenario() -> None:
        post = Post()
        post.answers = [[TOO_LONG, None]]
        post.add("bad")
        post.add("good")
        await until(lambda: post.sent == ["good"])
        assert post.refused == [("bad", "InvalidMessageContents")]
        post.add("next")
        await until(lambda: post.sent == ["good", "next"])
        assert post.sizes() == [2, 1]

    run(scenario)


@pytest.mark.parametrize(
    ("fifo", "group", "wanted"),
    [
        (True, "g", ("g", "m")),
        (True, "", ("m", "m")),
        (False, "tenant", ("tenant", "")),
        (False, "", ("", "")),
    ],
)
def test_on_a_fifo_failure_queue_a_message_keeps_its_group_or_is_one_of_its_own(
    fifo: bool, group: str, wanted: tuple[str, str]
) -> None:
    async def scenario() -> None:
        post = Post(fifo=fifo)
        post.add("m", group=group)
        await until(lambda: post.sent)
        (outgoing,) = post.calls[0]
        assert (outgoing.group, outgoing.deduplication_id) == wanted

    run(scenario)
