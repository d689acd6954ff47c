"""Random combinations of options under ``python -m courier``, each with a short outage, a poison message and a kill.

Whatever is combined: every good message is delivered at least once, or is in the failure queue with the reason; it is
recorded before it is deleted; a FIFO group keeps its order; and a drain leaves nothing hidden. A run is repeated by its
seed: ``pytest tests/process/test_combinations.py -k 'seed-017'``.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from courier.config.config import OPTIONS
from courier.local.exchange import Request, Response
from tests.process.combinations import DRAWN, LEFT, Combination, combination
from tests.process.several_queues import AmongOthers
from tests.process.world import Courier, Queue, kill, totals
from tests.threaded_server import ThreadedServer

ALL: Final = 200
ORDINARY: Final = 12
END_SECONDS: Final = 60.0
LATE: Final = 5
"""Messages that are sent just before the program is told to stop."""


class Recipient:
    """Knows a message by the number at the beginning of its body, whatever the headers are."""

    def __init__(self, drawn: Combination) -> None:
        self.outage = False
        self.attempts: list[tuple[float, int, int]] = []
        self.accepted: set[int] = set()
        self.early: list[tuple[int, int]] = []
        self._drawn = drawn
        self._earlier = _earlier(drawn)
        self.server = ThreadedServer(self._answer)

    async def _answer(self, request: Request) -> Response:
        if self._drawn.is_batched:
            return await self._answer_batch(json.loads(request.body)["Records"])
        number = int(request.body.partition(b":")[0])
        self._check_order(number)
        status = self._status(number)
        if status == 0:
            # Longer than any --timeout that is drawn.
            await asyncio.sleep(5.0)
            status = 503
        elif self._drawn.answer_seconds:
            await asyncio.sleep(self._drawn.answer_seconds)
        self.attempts.append((time.monotonic(), number, status))
        if status == 200:
            self.accepted.add(number)
        return Response(status)

    async def _answer_batch(self, records: list[dict[str, Any]]) -> Response:
        """Answer as a function that stops each group at its first failure."""
        numbers = {record["messageId"]: int(record["body"].partition(":")[0]) for record in records}
        groups = {record["messageId"]: record["attributes"].get("MessageGroupId") for record in records}
        failed: list[str] = []
        for name, number in numbers.items():
            if number == self._drawn.poison or (groups[name] and groups[name] in {groups[each] for each in failed}):
                failed.append(name)
        reports = self._drawn.options["--batch-item-failures"] is not False
        if failed and not reports:
            failed = list(numbers)
        status = self._status(-1)
        if status == 0:
            await asyncio.sleep(5.0)
            status = 503
        elif self._drawn.answer_seconds:
            await asyncio.sleep(self._drawn.answer_seconds)
        for name, number in numbers.items():
            settled = status == 200 and name not in failed
            if name not in failed:
                # Those before it in the same batch may fail with it.
                self._check_order(number, with_it=set(numbers.values()))
            self.attempts.append((time.monotonic(), number, status if status != 200 or settled else 400))
            if settled:
                self.accepted.add(number)
        answer: dict[str, Any] = {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}
        if failed and not reports:
            answer = {"errorType": "ValueError", "errorMessage": "one of them is poison"}
        return Response(status, (), json.dumps(answer).encode())

    def _status(self, number: int) -> int:
        if self.outage and self._drawn.outage == "hanging":
            return 0
        if self.outage and self._drawn.outage.isdigit():
            return int(self._drawn.outage)
        return 400 if number == self._drawn.poison else 200

    def _check_order(self, number: int, with_it: Collection[int] = ()) -> None:
        """Each message of a group may come once all before it are taken, or are in the failure queue."""
        gone = self.accepted.union(with_it)
        self.early += [(number, earlier) for earlier in self._earlier.get(number, ()) if earlier not in gone]

    def go_down(self) -> None:
        self.outage = True
        if self._drawn.outage in ("refused connections", "cut connections"):
            self.server.go_away()
            if self._drawn.outage == "cut connections":
                self.server.come_back()

    def come_up(self) -> None:
        self.outage = False
        if self._drawn.outage == "refused connections":
            self.server.come_back()


def _wait(seconds: float) -> None:
    """Let an outage or a stop last for a while: how long it lasts is what is tested."""
    time.sleep(seconds)


def _earlier(drawn: Combination) -> dict[int, list[int]]:
    """Give for each message of a FIFO queue those before it in its group."""
    groups: dict[str, list[int]] = defaultdict(list)
    earlier: dict[int, list[int]] = {}
    if drawn.fifo:
        for number, message in enumerate(drawn.messages):
            earlier[number] = list(groups[message.group])
            groups[message.group].append(number)
    return earlier


class Run:
    """One combination on its way."""

    def __init__(
        self, drawn: Combination, endpoint: str, directory: Path, start: Callable[..., Courier] = Courier
    ) -> None:
        self.drawn = drawn
        self.ended = False
        self._company_at = 0.0
        self.recipient = Recipient(drawn)
        self.dead: Queue | None = None
        if drawn.redrive:
            self.queue, self.dead = Queue.with_dead_letters(endpoint, drawn.redrive, fifo=drawn.fifo)
        else:
            self.queue = Queue(endpoint, fifo=drawn.fifo)
        self.failures = Queue(endpoint, fifo=drawn.failure_queue == "fifo") if drawn.failure_queue else None
        self.ids = self._send(0, [(m.body, m.attributes, m.group) for m in drawn.messages])
        more = ["--failure-queue", self.failures.name] if self.failures else []
        self.courier = start(
            self.queue.name,
            f"{self.recipient.server.url}/in",
            directory,
            *drawn.flags(),
            *more,
            endpoint=endpoint,
        )

    def _send(self, first: int, contents: list[tuple[str, Any, str]]) -> list[str]:
        ids = []
        for number, (body, attributes, group) in enumerate(contents, first):
            fields: dict[str, Any] = {"MessageGroupId": group, "MessageDeduplicationId": f"{number}"} if group else {}
            sent = self.queue.sqs.send_message(
                QueueUrl=self.queue.url, MessageBody=body, MessageAttributes=dict(attributes), **fields
            )
            ids.append(sent["MessageId"])
        return ids

    def explain(self) -> str:
        drawn = self.drawn
        missing = sorted(set(range(len(drawn.messages))) - self.recipient.accepted)
        story = drawn._replace(messages=[])
        return (
            f"seed {drawn.seed}: {story}\nnot accepted: {missing}, queue: {self.queue.counts()}, last attempts: "
            f"{self.recipient.attempts[-10:]}\n{self.courier.log()[-6000:]}"
        )

    def until(self, condition: Any, seconds: float = END_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.courier.process.poll() is None or self.ended, self.explain()
            assert time.monotonic() < deadline, f"not true within {seconds} s: {self.explain()}"
            time.sleep(0.02)

    def befall(self) -> None:
        """Have the outage and the kill happen, each after so many messages were taken, or after a while."""
        drawn = self.drawn
        steps = sorted([(drawn.outage_after, 0), (drawn.hurt_after, 1)])
        for goal, step in steps:
            patience = time.monotonic() + 5.0
            self.until(lambda: len(self.recipient.accepted) >= goal or time.monotonic() > patience)  # noqa: B023
            self._check_recorded()
            if step:
                self._hurt()
            else:
                self.recipient.go_down()
                _wait(drawn.outage_seconds)
                self.recipient.come_up()

    def _check_recorded(self) -> None:
        """Hold that what the queue holds no more is recorded. It is counted first: records only get more."""
        if self.drawn.audited:
            held = sum(self.queue.counts()) + (sum(self.dead.counts()) if self.dead else 0)
            assert len(self.courier.recorded()) >= len(self.ids) - held, self.explain()

    def _hurt(self) -> None:
        drawn = self.drawn
        self.until(lambda: self.courier.pids(drawn.victim))
        victim = random.Random(drawn.seed).choice(self.courier.pids(drawn.victim))
        if not drawn.stopped:
            kill(victim, signal.SIGKILL)
            # A drain that begins before this is noticed is another story.
            self.until(lambda: self.courier.pids(drawn.victim) and victim not in self.courier.pids(drawn.victim))
            return
        kill(victim, signal.SIGSTOP)
        _wait(1.5)
        kill(victim, signal.SIGCONT)

    def is_over(self) -> bool:
        visible, hidden = self.queue.counts()
        left = 0 if self.drawn.poison_ends else 1
        if visible + hidden > left:
            self._send_company()
            return False
        return not left or self.recipient.accepted >= set(range(len(self.ids))) - {self.drawn.poison}

    def _send_company(self) -> None:
        """Send a good message each second: alone, the poison can't be told from a recipient that refuses everything."""
        if self.drawn.poison_ends and time.monotonic() - self._company_at >= 1.0:
            self._company_at = time.monotonic()
            number = len(self.ids)
            self.ids += self._send(number, [(f"{number}:company", {}, f"company{number}" if self.drawn.fifo else "")])

    def stop_with_work(self) -> None:
        """Tell it to stop while messages still come, and hold that it leaves none of them hidden."""
        count = len(self.ids)
        contents: list[tuple[str, Any, str]] = [
            (f"{count + n}:late", {}, f"late{n}" if self.drawn.fifo else "") for n in range(LATE)
        ]
        self.ids += self._send(count, contents)
        self.ended = True
        assert self.courier.drain() == 0, self.explain()
        # What is hidden for its next try is the poison, where nothing takes it.
        most = 0 if self.drawn.poison_ends else 1
        self.until(lambda: self.queue.counts()[1] <= most, 20.0)

    def check(self) -> None:
        drawn, recipient = self.drawn, self.recipient
        assert drawn.poison not in recipient.accepted
        rejected = self._in_failure_queue()
        early = [f"{n} before {earlier}" for n, earlier in recipient.early if earlier not in rejected]
        assert not early, (early, self.explain())
        dead = set(_bodies(self.dead)) if self.dead else set()
        late = set(range(len(drawn.messages), len(self.ids)))
        missing = set(range(len(drawn.messages))) - recipient.accepted - rejected - dead
        assert missing == (set() if drawn.poison_ends else {drawn.poison}), self.explain()
        assert dead <= {drawn.poison}, f"good messages in the dead-letter queue: {dead} {self.explain()}"
        if drawn.poison_is_rejected and not dead:
            assert drawn.poison in rejected
        if drawn.audited:
            recorded = self.courier.recorded()
            kept = set(_bodies(self.queue))
            gone = (recipient.accepted | (late - kept) | rejected) - kept - dead
            assert {n for n in gone if self.ids[n] not in recorded} == set(), self.explain()
        log = self.courier.log()
        assert "Traceback" not in log, self.explain()
        if drawn.options["--log-level"] != "warning" and drawn.options["--log-format"] == "logfmt":
            assert totals(log)["unsettled"] == totals(log)["cut"] == 0
            if drawn.options["--audit-events"] == "all":
                self._check_events(totals(log))

    def _check_events(self, counted: dict[str, int]) -> None:
        """Hold that each outcome has at most one event line, and one if nobody was killed who may have held it."""
        lines = Counter(line["outcome"] for line in self.courier.events())
        counts = {
            "retried": lines["retry"] + lines["rejected"],
            "released": lines["released"],
            "lapsed": lines["lapsed"],
        }
        for name, count in counts.items():
            assert count <= counted[name], (name, lines, self.explain())
        if self.drawn.victim == "consumer" and not self.drawn.stopped:
            assert counts["retried"] == counted["retried"], (lines, self.explain())

    def _in_failure_queue(self) -> set[int]:
        """Return the numbers of the messages in the failure queue; each has its reason, where that fits."""
        if self.failures is None:
            return set()
        numbers = set()
        for message in _drained(self.failures):
            number = int(message["Body"].partition(":")[0])
            reason = json.loads(message["MessageAttributes"]["CourierFailure"]["StringValue"])
            assert reason["message_id"] == self.ids[number]
            assert reason["reason"]
            numbers.add(number)
        return numbers

    def close(self) -> None:
        self.courier.kill()
        self.recipient.server.stop()


def _drained(queue: Queue) -> Iterator[dict[str, Any]]:
    """Receive what a queue holds, and delete it."""
    while received := queue.sqs.receive_message(
        QueueUrl=queue.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    ).get("Messages"):
        for message in received:
            queue.sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])
            yield message


def _bodies(queue: Queue) -> list[int]:
    return [int(message["Body"].partition(":")[0]) for message in _drained(queue)]


def seeds() -> list[Any]:
    return [
        pytest.param(seed, id=f"seed-{seed:03d}", marks=[] if seed < ORDINARY else [pytest.mark.full])
        for seed in range(ALL)
    ]


@pytest.mark.parametrize("seed", seeds())
def test_whatever_is_combined_everything_is_delivered_recorded_and_deleted(
    virtual_queue: str, tmp_path: Path, seed: int
) -> None:
    go_through(Run(combination(seed), virtual_queue, tmp_path))


@pytest.mark.parametrize("seed", [ALL, *(pytest.param(ALL + n, marks=pytest.mark.full) for n in range(1, 20))])
def test_it_is_so_too_where_the_queue_is_one_of_several(virtual_queue: str, tmp_path: Path, seed: int) -> None:
    go_through(Run(combination(seed), virtual_queue, tmp_path, AmongOthers))


def go_through(run: Run) -> None:
    try:
        run.until(lambda: run.recipient.attempts)
        run.befall()
        # While the share of faults is high, a message that fails is kept: for a minute after the outage.
        function_fails = run.drawn.is_batched and run.drawn.options["--batch-item-failures"] is False
        run.until(run.is_over, 3 * END_SECONDS if function_fails else END_SECONDS)
        run.stop_with_work()
        run.check()
    finally:
        run.close()


def test_every_option_is_drawn_from_its_legal_range_or_left_out_for_a_reason() -> None:
    kinds = {option.flag: option.kind for option in OPTIONS.values()}
    assert kinds.keys() == DRAWN.keys() | LEFT.keys(), "draw a new option, or say why not"
    for seed in range(ALL):
        for flag, value in combination(seed).options.items():
            if value is not None:
                kinds[flag].parse(value)
