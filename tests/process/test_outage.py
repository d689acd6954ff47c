"""A recipient that is gone, or refuses everything: what that costs messages, and how soon it is noticed to be over."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from courier.local.exchange import Response
from courier.recipient.kept_messages import HOLD_SECONDS
from courier.recipient.refusals import MINIMUM
from tests.process.conftest import Start
from tests.process.test_api import Api, start_api
from tests.process.world import OK, Courier, Queue, Recipient, after, bodies, kill, missing, totals, until

SLOTS: Final = 16
RECOVERY_SECONDS: Final = 7.0
"""2 s to the first delivery and 5 s to the last: the promise for an outage of less than a minute."""

ROOM_SECONDS: Final = 3.0
"""What a busy machine may add to that."""

OPTIONS: Final = (
    *("--breaker-threshold", "5", "--senders", "2", "--concurrency", "8", "--timeout", "2", "--connect-timeout", "1"),
    *("--visibility-timeout", "5"),
)
OPEN: Final = "circuit breaker open"
CLOSED: Final = "circuit breaker closed"
REFUSES: Final = "the recipient refuses messages"


__all__ = ["start_api"]


@pytest.fixture
def queues(virtual_queue: str) -> tuple[Queue, Queue]:
    """A queue, and where its messages go that were received three times in vain."""
    return Queue.with_dead_letters(virtual_queue, receives=3)


def pass_time(seconds: float) -> None:
    over = time.monotonic() + seconds
    until(lambda: time.monotonic() > over, seconds + 1, every=0.1)


def outlast(courier: Courier, seconds: float) -> None:
    until(lambda: OPEN in courier.log(), explain=courier.log)
    pass_time(seconds)


def recover(courier: Courier, queues: tuple[Queue, Queue], sent: list[str]) -> int:
    """See that all is delivered soon after the end of an outage; gives how many attempts failed in it."""
    queue, dead = queues
    until(lambda: queue.counts() == (0, 0), RECOVERY_SECONDS + ROOM_SECONDS, courier.log)
    assert courier.drain() == 0
    assert dead.counts() == (0, 0)
    assert not missing(sent, courier.recorded())
    assert CLOSED in courier.log()
    return totals(courier.log())["retried"]


def most_receives(recipient: Recipient) -> int:
    return max(delivery.receive_count for delivery in recipient.deliveries)


@pytest.mark.parametrize("outage", [5.0, pytest.param(75.0, marks=pytest.mark.full)])
@pytest.mark.parametrize("how", ["answers-503", "never-answers", "is-gone"])
def test_an_outage_costs_a_receive_at_most_and_all_is_delivered_within_seconds_of_its_end(
    queues: tuple[Queue, Queue], recipient: Recipient, start: Start, how: str, outage: float
) -> None:
    queue, _ = queues
    courier = start(queue, *OPTIONS)
    # Until then all is well, so that as many are under way as there may be.
    sent = queue.send(bodies(20))
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    if how == "is-gone":
        recipient.server.go_away()
    else:
        recipient.behave = after(60.0) if how == "never-answers" else lambda d: Response(503)
    before = len(recipient.deliveries)
    sent += queue.send(bodies(1000))
    outlast(courier, outage)
    attempts = len(recipient.deliveries) - before
    recipient.behave = lambda d: OK
    if how == "is-gone":
        recipient.server.come_back()
    failed = recover(courier, queues, sent)
    # Five that open it, what was under way by then, and a probe a second.
    assert attempts <= SLOTS + outage + 5
    assert failed <= SLOTS + outage + RECOVERY_SECONDS + 5
    # After a minute most are returned, so that another Courier could try them.
    assert most_receives(recipient) <= (2 if outage < HOLD_SECONDS else 3)
    assert recipient.accepted == dict.fromkeys(sent, 1)


def test_where_messages_are_few_a_recipient_that_is_gone_costs_none_of_them_more_than_a_receive(
    queues: tuple[Queue, Queue], recipient: Recipient, start: Start
) -> None:
    queue, _ = queues
    sent = queue.send(["while all is well"])
    courier = start(queue, "--wait-time", "1")
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    recipient.server.go_away()
    sent += queue.send(["the only one"])
    outlast(courier, 1.0)
    recipient.server.come_back()
    recover(courier, queues, sent)
    assert most_receives(recipient) == 1


@pytest.mark.parametrize("in_flight", [1, 3])
def test_after_an_outage_deliveries_resume_however_few_may_be_in_flight(
    queues: tuple[Queue, Queue], recipient: Recipient, start: Start, in_flight: int
) -> None:
    recipient.server.go_away()
    sent = queues[0].send(bodies(30))
    courier = start(queues[0], "--senders", "4", "--max-in-flight", str(in_flight), "--breaker-threshold", "3")
    outlast(courier, 1.5)
    recipient.server.come_back()
    recover(courier, queues, sent)
    assert recipient.accepted == dict.fromkeys(sent, 1)


@pytest.mark.parametrize("signalled", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("index", [0, 1])
def test_a_sender_that_is_killed_or_stopped_in_an_outage_keeps_nobody_from_ending_it(
    queues: tuple[Queue, Queue], recipient: Recipient, start: Start, signalled: signal.Signals, index: int
) -> None:
    queue, _ = queues
    recipient.behave = lambda d: Response(503)
    courier = start(queue, *OPTIONS)
    queue.send(bodies(40))
    outlast(courier, 1.0)
    kill(courier.pid_of("sender", index), signalled)
    recipient.behave = lambda d: OK
    until(lambda: CLOSED in courier.log(), 5.0 + ROOM_SECONDS, courier.log)
    # What the stopped one holds comes again after its visibility timeout.
    until(lambda: queue.counts() == (0, 0), 25.0, courier.log)
    assert queues[1].counts() == (0, 0)


def test_a_recipient_that_starts_to_refuse_everything_costs_few_messages_one_receive_each(
    queues: tuple[Queue, Queue], recipient: Recipient, start_api: Start
) -> None:
    queue, _ = queues
    courier = start_api(queue, *OPTIONS)
    api = Api(courier)
    assert api.ready() == (200, {"ready": True})
    sent = queue.send(bodies(20))
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    recipient.behave = lambda d: Response(403)
    before = len(recipient.deliveries)
    sent += queue.send(bodies(500))
    until(lambda: REFUSES in courier.log(), explain=courier.log)
    pass_time(3.0)
    refused = Counter(delivery.message_id for delivery in recipient.deliveries[before:])
    # The 20 that tell, what was under way with them, and one that isn't at hand after two seconds.
    assert len(refused) <= MINIMUM + 2 * SLOTS
    assert most_receives(recipient) == 1
    assert ["status 403" in reason for reason in api.reasons()] == [True]
    assert api.metrics()["courier_stopped_by_refusals"] == 1
    # Both senders may open it at the same instant.
    lines = [line for line in courier.log().splitlines() if REFUSES in line]
    assert len(lines) <= 2
    assert all("status=403" in line and "credentials" in line for line in lines)
    recipient.behave = lambda d: OK
    recover(courier, queues, sent)
    assert most_receives(recipient) <= 2


@pytest.mark.parametrize(
    ("status", "options"),
    [(408, ()), (202, ("--success", "200")), (401, ("--retry", "400-499")), (404, ("--reject", "400"))],
)
def test_a_recipient_whose_every_answer_is_tried_again_is_one_that_refuses_everything(
    queues: tuple[Queue, Queue], recipient: Recipient, start: Start, status: int, options: tuple[str, ...]
) -> None:
    queue, dead = queues
    recipient.behave = lambda d: Response(status)
    queue.send(bodies(100))
    courier = start(queue, *OPTIONS, "--backoff-cap", "0.1", *options)
    until(lambda: REFUSES in courier.log() or dead.counts() != (0, 0), explain=courier.log)
    assert dead.counts() == (0, 0)
    assert most_receives(recipient) == 1


# Beside other tests the recipient may take more than a second to refuse, and the start is over by then.
@pytest.mark.alone
def test_a_wrong_password_costs_three_messages_at_each_start(
    virtual_queue: str, recipient: Recipient, start: Start
) -> None:
    queue, failures = Queue(virtual_queue), Queue(virtual_queue)
    recipient.behave = lambda d: Response(401)
    sent = queue.send(bodies(100))
    for _ in range(3):
        courier = start(queue, "--failure-queue", failures.name, "--visibility-timeout", "5")
        until(lambda: REFUSES in courier.log(), explain=courier.log)  # noqa: B023 - it is called in this turn
        assert courier.drain() == 0
    assert sum(failures.counts()) <= 3 * 3
    assert len({delivery.message_id for delivery in recipient.deliveries}) <= 3 * 4
    recipient.behave = lambda d: OK
    courier = start(queue)
    until(lambda: queue.counts() == (0, 0), 20.0, courier.log)
    assert len(recipient.accepted) == len(sent) - sum(failures.counts())


@pytest.mark.parametrize("count", [1, 3])
def test_a_queue_of_few_messages_loses_no_receive_to_a_recipient_that_refuses(
    queues: tuple[Queue, Queue], recipient: Recipient, start: Start, count: int
) -> None:
    queue, dead = queues
    recipient.behave = lambda d: Response(404)
    courier = start(queue, *OPTIONS, "--breaker-cool-down", "0.1", "--breaker-longest-cool-down", "0.1")
    queue.send(bodies(count))
    until(lambda: REFUSES in courier.log(), explain=courier.log)
    until(lambda: len(recipient.deliveries) > 40, 30.0, courier.log)
    assert most_receives(recipient) == 1
    assert dead.counts() == (0, 0)


def test_a_few_messages_that_are_refused_among_good_ones_come_to_the_dead_letters_as_ever(
    queues: tuple[Queue, Queue], recipient: Recipient, start: Start
) -> None:
    queue, dead = queues
    recipient.behave = lambda d: Response(422) if b'"n": 7' in d.body else OK
    courier = start(queue, *OPTIONS, "--backoff-cap", "1")
    sent = queue.send(bodies(100))
    until(lambda: queue.counts() == (0, 0) and sum(dead.counts()) == 11, 30.0, courier.log)
    assert OPEN not in courier.log()
    assert len(recipient.accepted) == len(sent) - 11


def test_a_long_recipient_is_not_started_one_by_one(queue: Queue, recipient: Recipient, start: Start) -> None:
    recipient.behave = after(4.0)
    queue.send(bodies(16))
    courier = start(queue, *OPTIONS[:6], "--timeout", "30")
    until(lambda: len(recipient.open) == SLOTS, 3.5, courier.log)
    assert OPEN not in courier.log()


@pytest.mark.parametrize("status", [503, 401])
def test_two_instances_charge_a_message_one_receive_and_its_probes(
    queues: tuple[Queue, Queue], recipient: Recipient, start: Start, tmp_path: Path, status: int
) -> None:
    queue, dead = queues
    first = start(queue, *OPTIONS)
    second = start(queue, *OPTIONS, "--audit-path", str(tmp_path / "second"))
    queue.send(bodies(40))
    until(lambda: queue.counts() == (0, 0), explain=first.log)
    recipient.behave = lambda d: Response(status)
    sent = set(queue.send(bodies(100)))
    for courier in (first, second):
        outlast(courier, 0.0)
    pass_time(4.0)
    failed = Counter(d.message_id for d in recipient.deliveries if d.message_id in sent)
    recipient.behave = lambda d: OK
    until(lambda: queue.counts() == (0, 0), 2 * RECOVERY_SECONDS + ROOM_SECONDS, first.log)
    assert (first.drain(), second.drain()) == (0, 0)
    assert dead.counts() == (0, 0)
    assert not missing(sent, recipient.accepted)
    charged = {d.message_id: d.receive_count for d in recipient.deliveries if d.message_id in sent}
    assert not {name: count for name, count in charged.items() if count > 1 + failed[name]}
