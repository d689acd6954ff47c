"""Workers that are stopped, as a debugger or a frozen container stops them: the others go on without them."""

from __future__ import annotations

import signal
from typing import Final

from tests.process.conftest import Start
from tests.process.test_api import ANY_PORT, Api
from tests.process.world import Queue, Recipient, bodies, kill, missing, until

SLOTS: Final = 4
SOON: Final = 20.0
"""Within so many seconds, a busy machine's own included, the others have noticed and go on."""


def test_sigstop_of_the_consumer_that_has_asked_for_all_the_room_leaves_it_to_the_other(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    options = ("--senders", "1", "--concurrency", str(SLOTS), "--consumers", "2", "--visibility-timeout", "60")
    courier = start(queue, *options)
    sent: list[str] = []
    for index in (0, 1):
        stopped = courier.pid_of("consumer", index)
        kill(stopped, signal.SIGSTOP)
        before = len(recipient.accepted)
        # Its open poll may be given as many as it asked for, ten at most; the other consumer receives all others.
        sent += queue.send([f"{index} {n}" for n in range(2 * SLOTS + 10)])
        until(lambda: len(recipient.accepted) >= before + 2 * SLOTS, SOON, courier.log)  # noqa: B023
        kill(stopped, signal.SIGCONT)
        until(lambda: not missing(sent, recipient.accepted), explain=courier.log)  # noqa: B023
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)


def test_sigstop_of_the_auditor_is_told_at_once_and_ends_with_a_new_one(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    courier = start(queue, "--hang-timeout", "12", "--api", ANY_PORT, "--visibility-timeout", "5")
    api = Api(courier)
    until(lambda: api.ready()[0] == 200, explain=courier.log)
    kill(courier.pid_of("auditor", 0), signal.SIGSTOP)
    until(lambda: api.reasons() == ["no auditor answering"], SOON, courier.log)
    sent = queue.send(bodies(50))
    until(lambda: not missing(sent, courier.recorded()), explain=courier.log)
    until(lambda: queue.counts() == (0, 0) and api.ready()[0] == 200, explain=courier.log)
    assert "worker hangs" in courier.log()
    assert courier.drain() == 0
