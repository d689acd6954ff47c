"""A sender on its loop, with the recipient in the test's hand."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from courier.audit.record import recorder
from courier.http.answer import Answer
from courier.http.url_parsing import read_url
from courier.process import scoreboard
from courier.recipient import breaker
from courier.recipient.gate import GateOptions
from courier.recipient.policy import DEFAULT_RULES, AnswerRules, Backoff
from courier.recipient.views import breaker_state, write_view
from courier.request.content import Step
from courier.request.head import DeliveryHead
from courier.sender.options import SenderOptions
from courier.sender.prepared import Prepared
from courier.sender.sender import Sender
from courier.sender.traces import Traces
from tests.unit.stage import (
    FakeTransport,
    Outcome,
    Surroundings,
    message,
)
from tests.waiting import until

NO_BREAKER = breaker.BreakerOptions(0, 1.0, 1.0)


def delivery_head() -> DeliveryHead:
    return DeliveryHead(read_url("http://recipient.test/in"), "queue")


class Stage(Surroundings):
    """A sender that runs, and beats for ever. The program's start is over, unless it ``starts``."""

    def __init__(
        self,
        *,
        fifo: bool = False,
        visibility: int = 30,
        backoff: Backoff = Backoff(0.0, 0.0),  # noqa: B008 (immutable)
        limits: dict[str, Any] | None = None,
        transport: FakeTransport | None = None,
        head: Any = None,
        rules: AnswerRules = DEFAULT_RULES,
        starts: bool = False,
        role_index: int = 0,
        traces: Traces | None = None,
        steps: Sequence[Step] = (),
        **delivery: Any,
    ) -> None:
        super().__init__("sender", role_index)
        self.slot.reals[scoreboard.BEAT] = math.inf
        if not starts:
            other = self.board.slots("sender")[1]
            other.reals[scoreboard.BEAT] = math.inf
            write_view(other, breaker.View(closed_at=time.monotonic()))
        given: dict[str, Any] = {"concurrency": 4, "rate": None, "in_flight": None, "adaptive": False}
        given |= {"breaker": NO_BREAKER, "reject_share": 0.0, "reject_window": 60.0}
        self.transport = transport or FakeTransport()
        settings = SenderOptions(
            limits=GateOptions(**(given | (limits or {}))),
            visibility=visibility,
            fifo=fifo,
            rules=rules,
            backoff=backoff,
            **({"recorder": recorder("json", "full")} | delivery),
        )
        head = head or delivery_head()
        prepared = Prepared(self.life.loop, self.transport, head, steps) if steps else None
        self.sender = Sender(
            self.life, (self.work, self.acks), self.transport, head, settings, traces, preparation=prepared
        )
        self.role = self.run(self.sender)

    def state(self) -> int:
        return breaker_state(self.board, "sender", time.monotonic())

    def sent(self) -> list[str]:
        return [body.decode() for body in self.transport.bodies()]

    async def sends(self, count: int) -> None:
        await until(lambda: len(self.transport.posts) >= count, explain=self.sent)

    async def reports(self, *outcomes: Outcome) -> None:
        """Wait until exactly these have been reported, in any order."""
        await until(lambda: sorted(self.outcomes()) == sorted(outcomes), explain=self.outcomes)


def named(*names: str, **fields: Any) -> list[Any]:
    return [message(name, body=name.encode(), **fields) for name in names]


CONNECTED = Answer(0, [], b"", False, True, 0.0, 0.01)


def failed_probes(stage: Stage, status: int) -> int:
    """Answer what is open, and count all that was sent."""
    for post in stage.transport.open():
        post.answer(status)
    return len(stage.transport.posts)


def open_for_all(stage: Stage, seconds: float = 60.0) -> None:
    """Open the breaker, as another sender would that has seen the recipient fail."""
    now = time.monotonic()
    view = breaker.View(opened_at=now, open_until=now + seconds, since=now, trips=1)
    write_view(stage.board.slots("sender")[1], view)
