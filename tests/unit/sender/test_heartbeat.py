"""A sender's heartbeat on a clock of our own: a held message is kept alive until its outcome, and never after it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier.http.answer import RESET
from courier.http.exchange import Done, Exchange
from courier.http.file_body import Body
from courier.lease import lease_end
from courier.message import DELIVERED, EXTEND, REJECTED, RELEASE, RETRY
from courier.process import scoreboard
from courier.recipient.policy import Backoff
from courier.sender.rejection import FailureQueue
from tests.examples import examples
from tests.unit.sender.stage import Stage
from tests.unit.stage import FakeTransport, message
from tests.unit.virtual_time import Clock, run_virtually

VISIBILITY = 4
OUTCOMES = (DELIVERED, RETRY, REJECTED, RELEASE)
SLACK = 0.1
"""Seconds until an outcome that was reported is read."""


class Packet(NamedTuple):
    """Some messages in one packet, put so many seconds after the one before; on a FIFO queue they are a run."""

    after: float
    messages: int


PACKETS = st.lists(st.builds(Packet, st.sampled_from([0.0, 0.5, 3.0]), st.integers(1, 4)), min_size=1, max_size=8)


class MoodyRecipient(FakeTransport):
    """Answers each request after a while that is drawn, and with what is drawn."""

    def __init__(self, seed: int, slowest: float) -> None:
        super().__init__()
        self._chance = random.Random(seed)
        self._slowest = slowest

    def send(self, head: bytes, body: Body, done: Done, timeout: float | None = None) -> Exchange:
        exchange = super().send(head, body, done, timeout)
        post = self.posts[-1]
        status = self._chance.choice([200, 200, 422, 503, 0])

        def end() -> None:
            if status and not post.cancelled:
                post.answer(status)
            elif not post.cancelled:
                post.fail(RESET)

        asyncio.get_running_loop().call_later(self._chance.random() * self._slowest, end)
        return exchange


class Reported(NamedTuple):
    """What was reported of a message, and when it was read."""

    at: float
    kind: int


class Watched:
    """A sender that gets some packets and is told to drain; all that it reports is kept, by message."""

    def __init__(self, packets: Sequence[Packet], *, fifo: bool, seed: int, slowest: float, pause: float) -> None:
        self.clock = Clock()
        self.reported: dict[str, list[Reported]] = {}
        self.received_at: dict[str, float] = {}
        self._packets = packets
        self._fifo = fifo
        self._recipient = MoodyRecipient(seed, slowest)
        self._pause = pause

    def run(self) -> None:
        with capture_logs():
            run_virtually(self.clock, self._run())

    def posted(self) -> list[str]:
        return [body.decode() for body in self._recipient.bodies()]

    async def _run(self) -> None:
        stage = Stage(
            fifo=self._fifo,
            visibility=VISIBILITY,
            backoff=Backoff(1.0, 1.0, fixed=self._pause),
            limits={"concurrency": 3},
            failure_queue=FailureQueue("queue"),
            transport=self._recipient,
        )
        reading = asyncio.get_running_loop().create_task(self._read_forever(stage))
        for number, packet in enumerate(self._packets):
            await asyncio.sleep(packet.after)
            names = [f"{number}-{n}" for n in range(packet.messages)]
            self.received_at |= dict.fromkeys(names, self.clock.now)
            lease = VISIBILITY - 0.4
            stage.put(*(message(name, group=str(number), lease=lease, body=name.encode()) for name in names))
        await asyncio.sleep(5 * VISIBILITY)
        stage.drain_all(60.0)
        await stage.role
        await asyncio.sleep(SLACK)
        reading.cancel()
        self.lapsed = stage.word(scoreboard.LAPSED)
        stage.close()

    async def _read_forever(self, stage: Stage) -> None:
        while True:
            seen = len(stage.settlements)
            stage.outcomes()
            for settlement in stage.settlements[seen:]:
                self.reported.setdefault(settlement.message_id, []).append(Reported(self.clock.now, settlement.kind))
            await asyncio.sleep(SLACK / 2)


@settings(max_examples=examples(100), deadline=None)
@given(
    packets=PACKETS,
    fifo=st.booleans(),
    seed=st.integers(0, 2**32),
    slowest=st.sampled_from([0.1, 3.0, 15.0]),
    pause=st.sampled_from([0.2, 1.5, 30.0]),
)
def test_a_held_message_is_kept_alive_until_its_outcome_and_never_extended_after_it(
    packets: list[Packet], fifo: bool, seed: int, slowest: float, pause: float
) -> None:
    watched = Watched(packets, fifo=fifo, seed=seed, slowest=slowest, pause=pause)
    watched.run()
    posted = watched.posted()
    for name, received_at in watched.received_at.items():
        reports = watched.reported.get(name, [])
        *before, last = reports or [Reported(0.0, 0)]
        assert all(report.kind == EXTEND for report in before), "something was reported after the outcome"
        if name in posted:
            assert last.kind in OUTCOMES, "it was sent, and nothing came of it"
        if name not in posted and not before:
            # It may have lapsed in the channel, before a slot was free for it.
            continue
        lease = lease_end(received_at, VISIBILITY, received_at)
        for report in reports:
            assert report.at - SLACK < lease, "its lease ran out while it was held"
            lease = lease_end(report.at, VISIBILITY, received_at)
    untold = [name for name in watched.received_at if not watched.reported.get(name) or name not in posted]
    assert watched.lapsed <= len(untold)
