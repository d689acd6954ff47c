"""One role in the test's own process: real channels, a real scoreboard and a real life, and what is outside by hand."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import resource
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import uvloop

from courier.http.answer import CANCELLED, Answer, Failure
from courier.http.exchange import Done, Exchange
from courier.http.file_body import Body
from courier.message import Message, Settlement, pack_messages, unpack_settlements
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.child import run_role
from courier.process.life import Life, Role
from courier.process.scoreboard import Scoreboard


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def message(name: str, *, group: str = "", lease: float = 30.0, receives: int = 1, body: bytes = b"body") -> Message:
    """Make a message that was received just now; ``lease`` is in seconds from now."""
    now = boottime()
    return Message(name, f"receipt-{name}", now + lease, now, receives, 0, 0, "", group, "", (), body)


class Outcome(NamedTuple):
    """What of a settlement most tests look at."""

    kind: int
    message_id: str


class Surroundings:
    """What a role is given; the tests hold the other ends of its channels. Make it within the loop."""

    def __init__(self, role: str, index: int = 0, *, drain_timeout: float = 30.0, drain_reserve: float = 0.0) -> None:
        self.board = Scoreboard.create({"consumer": 2, "sender": 2, "auditor": 1})
        self.slot = self.board.slots(role)[index]
        self.work = Channel.create("work")
        self.acks = Channel.create("acks")
        self.life = Life(self.slot, self.board, asyncio.get_running_loop(), drain_timeout, drain_reserve)
        self.settlements: list[Settlement] = []

    def run(self, role: Role) -> asyncio.Task[None]:
        """Run a role as its worker does."""
        return asyncio.get_running_loop().create_task(run_role(role, self.life))

    def word(self, index: int) -> int:
        return self.slot.words[index]

    def put(self, *messages: Message) -> None:
        """Put one packet of work."""
        assert self.work.send(*pack_messages(messages))

    def outcomes(self) -> list[Outcome]:
        """Read what came out of the role, all of it since the start."""
        while (received := self.acks.receive()) is not None:
            self.settlements += map(Settlement._make, unpack_settlements(*received))
        return [Outcome(s.kind, s.message_id) for s in self.settlements]

    def drain_all(self, seconds: float = 30.0) -> None:
        """Tell the role to drain, as the supervisor does when the whole program stops."""
        self.board.supervisor.reals[scoreboard.DRAIN_DEADLINE] = time.monotonic() + seconds
        self.life.drain()

    def close(self) -> None:
        self.work.close()
        self.acks.close()


class Post:
    """One request that a role sent, to be answered by the test."""

    def __init__(self, head: bytes, body: bytes, done: Done) -> None:
        self.head = head
        self.body = body
        self.exchange = Exchange(head, body, done, time.monotonic(), math.inf)
        self.exchange.connection = self
        self.cancelled = False
        self.ended = False

    def answer(self, status: int = 200, *headers: tuple[bytes, bytes], body: bytes = b"") -> None:
        self._end(Answer(status, list(headers), body, False, True, boottime(), 0.01))

    def fail(self, reason: str) -> None:
        self._end(Failure(reason, "as the test wants it", 0.01))

    def cancel(self, detail: str) -> None:
        """As the connection that carries an exchange does it: told a turn of the loop later."""
        self.cancelled = True
        self.exchange.connection = None
        asyncio.get_running_loop().call_soon(self.exchange.fail, CANCELLED, detail)

    def _end(self, result: Answer | Failure) -> None:
        self.ended = True
        self.exchange.connection = None
        self.exchange.finish(result)


class FakeTransport:
    """A transport that sends nothing: it keeps the requests, and the test answers them."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.dials: list[Done] = []
        self.closed = False

    def send(self, head: bytes, body: Body, done: Done, timeout: float | None = None) -> Exchange:
        assert isinstance(body, bytes)
        post = Post(head, body, done)
        self.posts.append(post)
        return post.exchange

    def connect(self, done: Done) -> None:
        self.dials.append(done)

    def close(self) -> None:
        self.closed = True

    def open(self) -> list[Post]:
        return [post for post in self.posts if not post.ended and not post.cancelled]

    def bodies(self) -> list[bytes]:
        return [post.body for post in self.posts]


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario on the loop that roles run on; what a callback raised fails it too."""
    raised: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
        await scenario()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(watched())
    assert not raised, raised


async def ended(task: asyncio.Task[None], seconds: float = 30.0) -> None:
    """Wait until a role has returned; what it raised is raised here."""
    await asyncio.wait_for(task, seconds)


def fill(channel: Channel) -> None:
    """Fill a channel to the brim with packets that mean nothing."""
    for size in (32_768, 512, 1):
        while channel.send(b"x" * size):
            pass


def empty(channel: Channel) -> None:
    """Take everything out of a channel."""
    while channel.receive() is not None:
        pass


def of_kind(kind: int, names: Sequence[str]) -> list[Outcome]:
    return [Outcome(kind, name) for name in names]


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let this process open no descriptor, nor receive one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    # What an earlier test left behind must not be closed meanwhile, which would make room.
    gc.collect()
    gc.disable()
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        gc.enable()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
