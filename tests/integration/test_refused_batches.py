"""Letters, deletes and changes against a virtual queue behind which something refuses calls for what they say."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier.auditor import sqs_calls
from courier.auditor.held_receipts import RECORD, HeldReceipt
from courier.auditor.letters import Letters
from courier.http.url_parsing import read_url
from courier.local.exchange import Request, Response
from courier.local.server import serve
from courier.local.virtual.errors import ACCESS_DENIED, INVALID_PARAMETER_VALUE, ErrorKind, ServiceError
from courier.local.virtual.faults import Faults
from courier.local.virtual.parameters import Parameters
from courier.local.virtual.service import VirtualSqs
from courier.message import Attribute, Handle, Letter, Message, pack_letter
from courier.process import scoreboard
from courier.recipient.policy import Backoff
from courier.sqs.batch import EntryFailure
from courier.sqs.client import Outgoing, SqsClient
from courier.sqs.credentials import CredentialSource
from courier.sqs.discovery import aws_configuration
from courier.sqs.queue import QueueInfo
from tests import waiting
from tests.unit.auditor.settler_stage import Stage
from tests.unit.sqs.aws_environment import no_aws, static_keys

__all__ = ["no_aws", "static_keys"]

UNKNOWN: Final = ErrorKind("com.amazonaws.sqs#NeverHeardOf", "NeverHeardOf")
MARK: Final = "hostile"

until = partial(waiting.until, seconds=40.0)


class Firewall(Faults):
    """Refuses a call whole for one entry of it; ``page`` has a proxy answer with a page in place of SQS."""

    def __init__(self, kind: ErrorKind) -> None:
        self.kind = kind
        self.hostile: set[str] = set()
        self.everything = False
        self.calls: Counter[str] = Counter()

    def call(self, action: str, parameters: Parameters) -> ServiceError | None:
        if not action.endswith("Batch"):
            return None
        self.calls[action] += 1
        said = str(parameters.get("Entries"))
        if self.everything or MARK in said or any(receipt in said for receipt in self.hostile):
            return ServiceError(self.kind, "as the test wants it")
        return None


class Stand(NamedTuple):
    """What a scenario has: a client of the queue, and what is behind it."""

    client: SqsClient
    sqs: VirtualSqs
    wall: Firewall
    fifo: bool

    async def receive(self, count: int) -> list[Message]:
        messages: list[Message] = []
        while len(messages) < count:
            messages += (await self.client.receive(10, 1, 60)).messages
        return messages

    async def left(self) -> list[str]:
        """Return the bodies that can be received, in order, until there are no more."""
        bodies: list[str] = []
        while received := (await self.client.receive(10, 0, 60)).messages:
            bodies += [message.body.decode() for message in received]
            await self.client.delete([message.receipt for message in received])
        return bodies


def behind(
    kind: ErrorKind, scenario: Callable[[Stand], Awaitable[None]], *, fifo: bool = False, page: bool = False
) -> Stand:
    """Run a scenario with a client, a virtual queue and a firewall between them."""

    async def run() -> Stand:
        wall = Firewall(kind)
        sqs = VirtualSqs(faults=wall)
        name = "q.fifo" if fifo else "q"
        sqs.create_queue(name)

        def handle(request: Request) -> Response | Awaitable[Response]:
            answer = sqs.handle(request)
            if page and isinstance(answer, Response) and answer.status == kind.status:
                return Response(kind.status, (), b"<html>blocked</html>")
            return answer

        server = await serve(handle)
        queue = QueueInfo(f"{server.url}{sqs.path_of(name)}", name, "us-east-1", read_url(server.url), fifo, 30)
        source = CredentialSource(aws_configuration(os.environ).find_keys, queue.region)
        client = SqsClient(asyncio.get_running_loop(), queue, source)
        stand = Stand(client, sqs, wall, fifo)
        try:
            with capture_logs():
                await asyncio.wait_for(scenario(stand), 60)
            return stand
        finally:
            client.close()
            source.close()
            sqs.close()
            server.close()
            await server.wait_closed(0.1)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def no_bug(message_id: str, consequence: str) -> None:
    raise AssertionError(f"{message_id}: {consequence}")


class Post:
    """Letters that go through the client of a stand, and the names of those that were sent or refused."""

    def __init__(self, stand: Stand) -> None:
        self.sent: list[str] = []
        self.refused: list[str] = []
        self.letters = Letters(stand.client.send, self._on_sent, self._on_refused, fifo=stand.fifo, on_bug=no_bug)
        self._task = asyncio.get_running_loop().create_task(self.letters.run())

    def _on_sent(self, held: HeldReceipt) -> None:
        self.sent.append(held.handle.message_id)

    def _on_refused(self, held: HeldReceipt, _: EntryFailure) -> None:
        self.refused.append(held.handle.message_id)

    def add(self, name: str, body: str, group: str = "") -> None:
        held = HeldReceipt(Handle(name, name, 0.0, 0.0, group), RECORD)
        held.letter = pack_letter(Letter(body.encode(), (Attribute("a", "String", "b"),), ""))
        self.letters.add(held)

    def stop(self) -> None:
        self._task.cancel()


class Others:
    """Other messages that are settled meanwhile: where an error tells nothing, what passes is the evidence."""

    def __init__(self, stand: Stand, stage: Stage) -> None:
        self.receipts: list[str] = []
        self.over = False
        self._stand = stand
        self._stage = stage

    async def come(self) -> None:
        while not self.over:
            n = 1000 + len(self.receipts)
            group, deduplication_id = (f"g{n}", f"d{n}") if self._stand.fifo else ("", "")
            await self._stand.client.send([Outgoing(b"other", (), group, deduplication_id)])
            (message,) = await self._stand.receive(1)
            self.receipts.append(message.receipt)
            stage = self._stage
            if n % 2:
                stage.settler.delete(stage.held.hold_delivered(message.handle))
            elif (held := stage.held.hold(message.handle)) is not None:
                stage.settler.change(held, 300.0)
            await asyncio.sleep(0.02)


KINDS: Final = st.sampled_from(
    [
        (INVALID_PARAMETER_VALUE, False),
        (UNKNOWN, False),
        (ErrorKind("x", "x", 403), True),
        (ErrorKind("x", "x", 413), True),
    ]
)
"""What refuses a call: SQS by a code that says why, by one that nobody knows, and a proxy's pages."""

quick = settings(
    max_examples=15,
    deadline=None,
    # Not to shrink: one that hangs takes long.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@quick
@given(kind=KINDS, hostile=st.sets(st.integers(0, 29), max_size=4), fifo=st.booleans())
def test_every_good_letter_is_taken_in_the_order_of_its_group_and_every_hostile_one_given_up(
    static_keys: None, kind: tuple[ErrorKind, bool], hostile: set[int], fifo: bool
) -> None:
    async def scenario(stand: Stand) -> None:
        post = Post(stand)
        for n in range(30):
            post.add(f"m{n}", f"{MARK if n in hostile else 'good'} {n}", f"g{n % 3}")
        await until(lambda: len(post.sent) + len(post.refused) == 30)
        post.stop()
        assert sorted(post.refused) == sorted(f"m{n}" for n in hostile)
        left = [int(body.split()[1]) for body in await stand.left()]
        assert sorted(left) == [n for n in range(30) if n not in hostile]
        if fifo:
            for group in range(3):
                of_group = [n for n in left if n % 3 == group]
                assert of_group == sorted(of_group)

    stand = behind(kind[0], scenario, fifo=fifo, page=kind[1])
    assert stand.wall.calls["SendMessageBatch"] <= 3 + len(hostile) * 9


@quick
@given(
    kind=KINDS,
    hostile=st.sets(st.integers(0, 29), max_size=4),
    fates=st.lists(st.sampled_from(["delete", "change", "extend"]), min_size=30, max_size=30),
    fifo=st.booleans(),
)
def test_every_good_receipt_is_settled_and_every_hostile_one_counted(
    static_keys: None, kind: tuple[ErrorKind, bool], hostile: set[int], fates: list[str], fifo: bool
) -> None:
    async def scenario(stand: Stand) -> None:
        for start in range(0, 30, 10):
            await stand.client.send(
                [
                    Outgoing(f"{n}".encode(), (), f"g{n % 3}" if fifo else "", f"d{n}" if fifo else "")
                    for n in range(start, start + 10)
                ]
            )
        messages = {int(message.body): message for message in await stand.receive(30)}
        stand.wall.hostile = {messages[n].receipt for n in hostile}
        stage = Stage(60, fifo=fifo, calls=stand.client)
        extended = []
        for n, message in sorted(messages.items()):
            if fates[n] == "delete":
                stage.settler.delete(stage.held.hold_delivered(message.handle))
                continue
            held = stage.held.hold(message.handle)
            assert held is not None
            if fates[n] == "change":
                stage.settler.change(held, 300.0)
            else:
                stage.settler.extend(held)
                extended.append(message.receipt)
        others, tasks = Others(stand, stage), []
        if tells_nothing:
            tasks.append(asyncio.get_running_loop().create_task(others.come()))
        await until(
            lambda: (
                set(stage.held) <= {*extended, *others.receipts}
                and stage.count(scoreboard.EXTENDED) >= len(set(extended) - stand.wall.hostile)
            )
        )
        others.over = True
        count, good = stage.count, [n for n in range(30) if n not in hostile]
        assert count(scoreboard.SETTLE_REFUSED) + count(scoreboard.STALE) >= len(
            [n for n in hostile if fates[n] != "extend"]
        )
        more = len(others.receipts)
        assert 0 <= count(scoreboard.DELETED) - sum(fates[n] == "delete" for n in good) <= more
        assert 0 <= count(scoreboard.CHANGED) - sum(fates[n] == "change" for n in good) <= more
        await stage.settler.close()

    tells_nothing = kind[0] is UNKNOWN or kind[0].status == 403
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqs_calls, "BACKOFF", Backoff(0.01, 0.05))
        stand = behind(kind[0], scenario, fifo=fifo, page=kind[1])
    if not tells_nothing:
        # A FIFO group's deletes may take a call each.
        assert sum(stand.wall.calls.values()) <= 70 + len(hostile) * 20


@pytest.mark.parametrize("kind", [(ACCESS_DENIED, False), (UNKNOWN, False), (ErrorKind("x", "x", 403), True)])
def test_what_refuses_every_call_costs_few_calls_gives_up_nothing_and_is_over_when_it_is_repaired(
    static_keys: None, kind: tuple[ErrorKind, bool]
) -> None:
    async def scenario(stand: Stand) -> None:
        post = Post(stand)
        await stand.client.send([Outgoing(b"to delete")])
        (message,) = await stand.receive(1)
        stand.wall.everything = True
        stand.wall.calls.clear()
        stage = Stage(60, calls=stand.client)
        stage.settler.delete(stage.held.hold_delivered(message.handle))
        for n in range(30):
            post.add(f"m{n}", f"good {n}")
        await until(lambda: stand.wall.calls["SendMessageBatch"] >= 4 and stand.wall.calls["DeleteMessageBatch"] >= 4)
        # Nineteen of them at most say once which entry it may be.
        assert stand.wall.calls["SendMessageBatch"] < 30
        assert stand.wall.calls["DeleteMessageBatch"] < 30
        assert not post.sent
        assert not post.refused
        stand.wall.everything = False
        await until(lambda: len(post.sent) == 30 and not stage.held)
        post.stop()
        await stage.settler.close()
        assert not post.refused
        assert len(set(post.sent)) == 30

    behind(kind[0], scenario, page=kind[1])


@pytest.mark.parametrize("fifo", [False, True])
def test_a_lone_letter_that_nobody_can_tell_from_an_outage_stops_no_other_and_is_given_up_when_others_pass(
    static_keys: None, fifo: bool
) -> None:
    async def scenario(stand: Stand) -> None:
        post = Post(stand)
        post.add("bad", MARK, "g0")
        await until(lambda: stand.wall.calls["SendMessageBatch"] >= 2)
        n = 0
        while not post.refused:
            n += 1
            post.add(f"m{n}", f"good {n}", f"g{n}")
            await until(lambda: len(post.sent) == n)  # noqa: B023 - it's called in this turn
        post.stop()
        assert post.refused == ["bad"]

    behind(UNKNOWN, scenario, fifo=fifo)
