"""Several senders on one scoreboard, on a clock of the test, and what happens to all of them."""

from __future__ import annotations

import itertools
import math
from typing import Any

from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard
from courier.recipient import breaker
from courier.recipient.breaker import BreakerOptions, View
from courier.recipient.gate import Gate, GateOptions
from courier.recipient.peers import STARTING_SECONDS
from courier.recipient.policy import Rejected, Retry
from courier.recipient.views import read_views, write_view

START = 1000.0
LATER = START + STARTING_SECONDS
BREAKER = BreakerOptions(3, 5.0, 60.0)
FAULT = Retry(0.0, "status 503", 503, fault=True)
REJECTED = Rejected("status 404", 404)


class Senders:
    """The recipients of several senders on one scoreboard, all alive: each beats for ever until a test says otherwise.

    Their start is over, unless ``starts``.
    """

    def __init__(
        self,
        count: int = 1,
        *,
        starts: bool = False,
        role: str = "sender",
        board: Scoreboard | None = None,
        **limits: Any,
    ) -> None:
        self.role = role
        self.board = board or Scoreboard.create({role: count + 1, "consumer": 1})
        given: dict[str, Any] = {"concurrency": 8, "rate": None, "in_flight": None, "adaptive": False}
        given |= {"breaker": BREAKER, "reject_share": 0.0, "reject_window": 60.0, "senders": count}
        self.limits = GateOptions(**(given | limits))
        self.all: list[Gate] = []
        self._messages = itertools.count()
        for index in range(count):
            self.alive(index)
            self.all.append(self.join(index, START))
            if not starts:
                write_view(self.board.slots(self.role)[index], View(closed_at=START))
        self.refresh(START)

    def alive(self, index: int) -> None:
        slot = self.board.slots(self.role)[index]
        slot.words[scoreboard.STATE] = scoreboard.READY
        slot.reals[scoreboard.BEAT] = math.inf

    def join(self, index: int, now: float) -> Gate:
        return Gate(self.board.slots(self.role)[index], self.board, self.limits, now)

    def refresh(self, now: float) -> None:
        for gate in self.all:
            gate.refresh(now)

    def gone(self, index: int, at: float = 0.0) -> None:
        """Let one be dead, its last beat being at an instant."""
        slot = self.board.slots(self.role)[index]
        slot.words[scoreboard.STATE] = scoreboard.EMPTY
        slot.reals[scoreboard.BEAT] = at

    def silent(self, index: int, since: float) -> None:
        """Let one be stopped: it says nothing more, and its words stay."""
        self.board.slots(self.role)[index].reals[scoreboard.BEAT] = since

    def refuse(self, index: int, now: float, message_id: str = "") -> bool:
        """Let one see a refusal, of a message of its own unless given; ``True``: receiving is stopped now."""
        self.all[index].record_refusal(REJECTED, message_id or f"m{next(self._messages)}", 0.1, 1, now)
        return self.all[index].phase.is_outage

    def deliver(self, index: int, now: float) -> bool:
        self.board.slots(self.role)[index].words[scoreboard.DELIVERED] += 1
        return self.all[index].record_delivery(0.1, 1, now)


def opened(senders: Senders) -> float:
    """Open the breaker, and give the instant at which it is half-open."""
    for n in range(3):
        senders.all[0].record_failure_to_deliver(FAULT, 0.1, 1, LATER + n / 100)
    return LATER + 0.02 + 5.0


def open_until(senders: Senders) -> float:
    return breaker.newest(read_views(senders.board, senders.role, LATER)).open_until
