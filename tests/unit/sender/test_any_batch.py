"""Any messages in any batches with any answers: each message is settled once, and by what its answer says."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from typing import Any, Final

import pytest

from courier.http.answer import RESET, TIMEOUT
from courier.message import DELIVERED, EXTEND, RELEASE, RETRY, Message
from courier.recipient.policy import AnswerRules, Backoff
from courier.request.lambda_event import EventSource
from courier.sender.options import BatchOptions
from tests.unit.sender.stage import Stage
from tests.unit.stage import Post, message
from tests.waiting import until

SOURCE: Final = EventSource("arn:aws:sqs:local:0:orders", "local")
SETTLES: Final = (b"", b"null", b"{}", b'{"batchItemFailures": []}', b'{"statusCode": 200}', b'""')
FAILS: Final = (
    b'{"batchItemFailures": [{"itemIdentifier": "of another batch"}]}',
    b'{"batchItemFailures": [{"itemIdentifier": ""}]}',
    b'{"batchItemFailures": [{}]}',
    b'{"batchItemFailures": {"itemIdentifier": "a"}}',
    b'{"errorMessage": "no", "errorType": "Error"}',
    b"Task timed out after 3.00 seconds",
    b"<html>",
    b"[",
)
ALL: Final = 200
ORDINARY: Final = 20


class Drawn:
    """What one run is made of, and what its answers said: ``settled`` are ids that an answer settled."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(f"batch {seed}")
        chance = self.chance
        self.fifo = chance.random() < 0.5
        self.size = chance.choice((1, 2, 3, 7, 10))
        self.posts = chance.choice((1, 2, 5))
        self.wait = chance.choice((0.0, 0.0, 0.05))
        groups = chance.choice((1, 2, 6))
        self.packets: list[list[Message]] = []
        for number in range(chance.randrange(1, 12)):
            # SQS hides a group while one of its messages is held, so a group is in one packet at a time.
            group = f"g{number}" if self.fifo else ""
            count = chance.randrange(1, 11) if self.fifo or chance.random() < 0.5 else groups
            self.packets.append([self._message(f"{number}-{n}", group) for n in range(count)])
        self.settled: set[str] = set()
        self.failed: set[str] = set()

    def _message(self, name: str, group: str) -> Message:
        body = self.chance.choice((b"text", b"", 'grüße 💩"\\\u2028'.encode(), b"x" * 5000, b"\xff"))
        receives = self.chance.choice((1, 1, 1, 2, 3, 9))
        return message(name, group=group, body=body, receives=receives)

    def answer(self, post: Post) -> None:
        """Answer a POST, and note what that says of its messages."""
        records = json.loads(post.body)["Records"]
        ids = [record["messageId"] for record in records]
        assert 1 <= len(ids) <= self.size
        assert len(set(ids)) == len(ids)
        chance = self.chance
        kind = chance.choice(("all", "some", "some", "none", "status", "broken"))
        if kind == "broken":
            self.failed.update(ids)
            post.fail(chance.choice((RESET, TIMEOUT)))
        elif kind == "status":
            self.failed.update(ids)
            post.answer(chance.choice((300, 400, 404, 429, 500, 503)), body=chance.choice(SETTLES))
        elif kind == "none":
            self.failed.update(ids)
            post.answer(200, body=chance.choice(FAILS))
        elif kind == "all":
            self.settled.update(ids)
            post.answer(chance.choice((200, 204)), body=chance.choice(SETTLES))
        else:
            named = [name for name in ids if chance.random() < 0.4]
            self._note(ids, set(named))
            items = [{"itemIdentifier": name} for name in named]
            post.answer(200, body=json.dumps({"batchItemFailures": items}).encode())

    def _note(self, ids: list[str], named: set[str]) -> None:
        stopped: set[str] = set()
        for name in ids:
            group = name.partition("-")[0]
            if name in named:
                self.failed.add(name)
                stopped |= {group} if self.fifo else set()
            elif group not in stopped:
                self.settled.add(name)


def seeds() -> list[Any]:
    return [
        pytest.param(seed, id=f"seed-{seed:03d}", marks=[] if seed < ORDINARY else [pytest.mark.full])
        for seed in range(ALL)
    ]


@pytest.mark.parametrize("seed", seeds())
async def test_each_message_is_settled_once_and_by_what_its_answer_says(seed: int) -> None:
    drawn = Drawn(seed)
    stage = Stage(
        fifo=drawn.fifo,
        batches=BatchOptions(drawn.size, drawn.wait, drawn.posts, SOURCE),
        rules=AnswerRules.of(range(200, 300), (), ()),
        limits={"concurrency": drawn.posts * drawn.size},
        # Longer than the visibility timeout, so that nothing is tried again from memory.
        backoff=Backoff(1.0, 100.0, fixed=100.0),
    )
    for packet in drawn.packets:
        stage.put(*packet)
    ids = {each.message_id for packet in drawn.packets for each in packet}

    def is_over() -> bool:
        open_posts = stage.transport.open()
        assert len(open_posts) <= drawn.posts
        if open_posts and drawn.chance.random() < 0.5:
            drawn.answer(drawn.chance.choice(open_posts))
        ended = [outcome for outcome in stage.outcomes() if outcome.kind != EXTEND]
        return len(ended) >= len(ids)

    await until(is_over, explain=lambda: (sorted(ids - {s.message_id for s in stage.settlements}), stage.outcomes()))
    kinds: dict[str, list[int]] = defaultdict(list)
    for outcome in stage.outcomes():
        if outcome.kind != EXTEND:
            kinds[outcome.message_id].append(outcome.kind)
    assert {name: len(found) for name, found in kinds.items()} == dict.fromkeys(ids, 1)
    unsendable = {each.message_id for packet in drawn.packets for each in packet if each.body == b"\xff"}
    for name, (kind,) in kinds.items():
        if kind == DELIVERED:
            assert name in drawn.settled
            assert name not in unsendable
        elif kind == RETRY:
            assert name in drawn.failed | unsendable
        else:
            assert kind == RELEASE
            assert drawn.fifo
            assert name not in drawn.settled
    # What an answer settled is never given back, and a group's outcomes are in its order.
    assert {name for name, (kind,) in kinds.items() if kind == DELIVERED} == drawn.settled
    if drawn.fifo:
        for packet in drawn.packets:
            in_order = [kinds[each.message_id][0] for each in packet]
            delivered = in_order.count(DELIVERED)
            assert in_order[:delivered] == [DELIVERED] * delivered
            assert in_order[delivered + 1 :] == [RELEASE] * (len(packet) - delivered - 1)
