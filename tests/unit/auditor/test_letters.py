"""Letters to the failure queue: what is batched, what is tried again, and what is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from courier.auditor import letters as letters_module
from courier.auditor.held_receipts import RECORD, HeldReceipt
from courier.auditor.letters import Letters
from courier.errors import SqsError
from courier.message import MOST_MESSAGE_BYTES, Attribute, Handle, Letter, pack_letter
from courier.recipient.policy import Backoff
from courier.sqs.batch import EntryFailure, Outgoing
from tests.waiting import until

BUSY = EntryFailure("InternalFailure", "later", sender_fault=False)
TOO_LONG = EntryFailure("InvalidMessageContents", "too long", sender_fault=True)


class Post:
    """A failure queue in the test's hand, and what the letters made of its answers."""

    def __init__(self, *, fifo: bool = False) -> None:
        self.calls: list[list[Outgoing]] = []
        self.answers: list[Exception | list[EntryFailure | None]] = []
        self.sent: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.hostile = b""
        self.bugs: list[str] = []
        self.letters = Letters(self._send, self._on_sent, self._on_refused, fifo=fifo, on_bug=self._on_bug)
        self.task = asyncio.get_running_loop().create_task(self.letters.run())

    async def _send(self, entries: Sequence[Outgoing]) -> list[EntryFailure | None]:
        self.calls.append(list(entries))
        await asyncio.sleep(0)
        if self.hostile and any(entry.body == self.hostile for entry in entries):
            raise broken()
        nothing_wrong: list[EntryFailure | None] = [None] * len(entries)
        answer = self.answers.pop(0) if self.answers else nothing_wrong
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _on_bug(self, message_id: str, consequence: str) -> None:
        self.bugs.append(message_id)

    def _on_sent(self, held: HeldReceipt) -> None:
        self.sent.append(held.handle.message_id)

    def _on_refused(self, held: HeldReceipt, failure: EntryFailure) -> None:
        self.refused.append((held.handle.message_id, failure.code))

    def add(self, name: str, body: bytes = b"body", group: str = "", **fields: str) -> None:
        attributes = tuple(Attribute(key, "String", value) for key, value in fields.items())
        held = HeldReceipt(Handle(name, name, 0.0, 0.0, group), RECORD)
        held.letter = pack_letter(Letter(body, attributes, ""))
        self.letters.add(held)

    def sizes(self) -> list[int]:
        return [len(call) for call in self.calls]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests that need many failures not wait for the pauses between them."""
    monkeypatch.setattr(letters_module, "BACKOFF", Backoff(0.01, 0.02))


def broken() -> SqsError:
    return SqsError("SendMessageBatch", "network", "connection refused", retriable=True)


async def test_letters_go_in_order_ten_to_a_call() -> None:
    post = Post()
    names = [f"m{n}" for n in range(23)]
    for name in names:
        post.add(name)
    await until(lambda: post.sent == names)
    assert post.sizes() == [10, 10, 3]


async def test_no_call_is_larger_than_sqs_allows_attributes_counted() -> None:
    post = Post()
    post.add("a", b"x" * (MOST_MESSAGE_BYTES // 2))
    post.add("b", b"x" * (MOST_MESSAGE_BYTES // 2 - 50), reason="y" * 100)
    post.add("alone", b"x" * MOST_MESSAGE_BYTES)
    post.add("c")
    await until(lambda: len(post.sent) == 4)
    assert post.sizes() == [1, 1, 1, 1]


async def test_a_failure_queue_that_is_away_is_asked_again_with_everything_and_told_once() -> None:
    post = Post()
    post.answers = [broken(), broken()]
    with capture_logs() as logs:
        post.add("a")
        post.add("b")
        await until(lambda: post.sent == ["a", "b"])
    assert post.sizes() == [2, 2, 2]
    assert [line["event"] for line in logs] == [
        "the failure queue accepts nothing: rejected messages stay hidden and are sent again until it does",
        "the failure queue accepts rejected messages again",
    ]


async def test_only_the_entries_that_failed_are_sent_again_before_what_came_later() -> None:
    post = Post()
    post.answers = [[None, BUSY, None, BUSY]]
    for name in ("a", "b", "c", "d"):
        post.add(name)
    await until(lambda: post.sent == ["a", "c"])
    post.add("later")
    await until(lambda: len(post.sent) == 5)
    assert post.sent == ["a", "c", "b", "d", "later"]
    assert not post.refused


async def test_what_is_refused_for_good_is_given_up_and_holds_up_nobody() -> None:
    post = Post()
    post.answers = [[TOO_LONG, None]]
    post.add("bad")
    post.add("good")
    await until(lambda: post.sent == ["good"])
    assert post.refused == [("bad", "InvalidMessageContents")]
    post.add("next")
    await until(lambda: post.sent == ["good", "next"])
    assert post.sizes() == [2, 1]


@pytest.mark.parametrize(
    ("fifo", "group", "wanted"),
    [
        (True, "g", ("g", "m")),
        (True, "", ("m", "m")),
        (False, "tenant", ("tenant", "")),
        (False, "", ("", "")),
    ],
)
async def test_on_a_fifo_failure_queue_a_message_keeps_its_group_or_is_one_of_its_own(
    fifo: bool, group: str, wanted: tuple[str, str]
) -> None:
    post = Post(fifo=fifo)
    post.add("m", group=group)
    await until(lambda: post.sent)
    (outgoing,) = post.calls[0]
    assert (outgoing.group, outgoing.deduplication_id) == wanted


async def test_a_letter_that_cuts_every_connection_lets_the_others_through_and_is_given_up_when_they_passed(
    quick: None,
) -> None:
    post = Post()
    post.hostile = b"hostile"
    post.add("bad", b"hostile")
    names = [f"m{n}" for n in range(12)]
    for name in names:
        post.add(name)
    await until(lambda: len(post.sent) == 12, 30.0)
    assert not post.refused, "nobody else was left to pass between its failures"
    number = 12
    while not post.refused:
        post.add(f"m{number}")
        number += 1
        await until(lambda: len(post.sent) == number, 30.0)  # noqa: B023 - it's called in this turn
    assert post.refused == [("bad", "network")]
    assert sorted(post.sent, key=lambda name: int(name[1:])) == post.sent


async def test_an_outage_gives_up_no_letter_however_long_it_is(quick: None) -> None:
    post = Post()
    post.answers = [broken() for _ in range(60)]
    names = [f"m{n}" for n in range(12)]
    for name in names:
        post.add(name)
    await until(lambda: len(post.sent) == 12, 30.0)
    assert not post.refused
    assert sorted(post.sent) == sorted(names)
