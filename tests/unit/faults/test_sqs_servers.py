"""The queues of the trials, on each SQS server: what was sent is known, counted, given out and found again."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.faults.events import Sent, digest
from scripts.faults.fault_queue import FaultQueue
from scripts.faults.feeder import Feeder, Sampler
from scripts.faults.sqs_calls import CallRefused
from scripts.faults.sqs_servers import Kind, SqsServer, node_missing, start_server
from scripts.faults.workload import MOST_BYTES, Message, Workload, messages
from tests.integration.sqs_endpoints import sqs_client
from tests.process.world import until

KINDS: tuple[Kind, ...] = ("courier", "fauxqs", "moto")

pytestmark = pytest.mark.together


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqsServer]:
    if request.param == "fauxqs" and (why := node_missing()):
        pytest.skip(why)
    started = start_server(request.param, tmp_path_factory.mktemp("sqs"))
    yield started
    started.stop()


@pytest.mark.parametrize("groups", [0, 4])
def test_what_was_sent_and_not_deleted_is_left(server: SqsServer, groups: int) -> None:
    queue = FaultQueue(server.url, fifo=bool(groups))
    workload = Workload(60, groups=groups, sizes="mixed", attributes=True, beyond_bmp=server.beyond_bmp, seed=1)
    made = list(messages(workload))
    sent = queue.send(made)
    assert [(each.group, each.digest) for each in sent] == [(m.group, digest(m.body.encode())) for m in made]
    assert queue.state() == (60, 0, 0)
    assert queue.left() == _by_id(sent)
    assert queue.state().total == 0
    assert len(_by_id(sent)) == 60


def test_messages_of_a_mebibyte_arrive_whole(server: SqsServer) -> None:
    queue = FaultQueue(server.url)
    sent = queue.send(messages(Workload(4, sizes="large", attributes=True, beyond_bmp=server.beyond_bmp)))
    assert queue.left() == _by_id(sent)


def test_what_is_in_flight_is_counted_and_awaited(server: SqsServer) -> None:
    queue = FaultQueue(server.url, visibility_seconds=1)
    sent = queue.send(_plain(5))
    taken = _receive(queue, server, seconds=60, count=2)
    assert queue.state() == (5 - len(taken), 0, len(taken))
    with pytest.raises(TimeoutError, match="in_flight"):
        queue.left(0.0)
    for receipt in taken.values():
        sqs_client(server.url).change_message_visibility(QueueUrl=queue.url, ReceiptHandle=receipt, VisibilityTimeout=1)
    assert queue.left().keys() == taken.keys()
    assert taken.keys() < _by_id(sent).keys()


def test_a_group_is_received_in_the_order_of_sent(server: SqsServer) -> None:
    queue = FaultQueue(server.url, fifo=True)
    sent = queue.send(messages(Workload(40, groups=3, beyond_bmp=server.beyond_bmp, seed=2)))
    order: dict[str, list[str]] = defaultdict(list)
    groups = {each.message_id: each.group for each in sent}
    deadline = time.monotonic() + 30
    while sum(map(len, order.values())) < 40 and time.monotonic() < deadline:
        for message_id, receipt in _receive(queue, server, seconds=60).items():
            order[groups[message_id]].append(message_id)
            sqs_client(server.url).delete_message(QueueUrl=queue.url, ReceiptHandle=receipt)
    assert order == {group: [each.message_id for each in sent if each.group == group] for group in set(groups.values())}


def test_a_message_received_too_often_is_with_the_dead_letters(server: SqsServer) -> None:
    queue = FaultQueue(server.url, receives=2)
    assert queue.dead is not None
    sent = queue.send(_plain(1))
    for _ in range(2):
        assert _receive(queue, server, seconds=0).keys() == _by_id(sent).keys()
    until(lambda: not _receive(queue, server, seconds=0) and queue.dead and queue.dead.state().visible == 1)
    assert queue.left() == {}
    assert queue.dead.left() == _by_id(sent)


def test_looking_for_what_is_left_makes_no_dead_letter(server: SqsServer) -> None:
    queue = FaultQueue(server.url, receives=1)
    assert queue.dead is not None
    sent = queue.send(_plain(1))
    assert _receive(queue, server, seconds=0)
    assert queue.left() == _by_id(sent)
    assert queue.dead.left() == {}


def test_a_feeder_sends_its_whole_workload_and_a_sampler_sees_it_come(server: SqsServer) -> None:
    queue = FaultQueue(server.url)
    sampler = Sampler(queue, every=0.01)
    feeder = Feeder(queue, Workload(40, rate=200.0, beyond_bmp=server.beyond_bmp, seed=3))
    feeder.wait(30)
    until(lambda: sampler.samples and sampler.samples[-1].visible == 40)
    sampler.stop()
    assert [each.visible for each in sampler.samples] == sorted(each.visible for each in sampler.samples)
    assert queue.left() == _by_id(feeder.sent)
    assert len(feeder.sent) == 40


def test_a_message_that_is_sent_alone_waits_until_the_one_before_it_is_gone(server: SqsServer) -> None:
    queue = FaultQueue(server.url)
    feeder = Feeder(queue, Workload(3, rate=2.0, alone=True, beyond_bmp=server.beyond_bmp))
    for number in range(3):
        until(lambda: len(feeder.sent) > number)  # noqa: B023 - it's called in this turn
        assert queue.left().keys() == {feeder.sent[number].message_id}
    feeder.wait(30)
    assert len(feeder.sent) == 3


def test_a_stopped_feeder_knows_what_it_has_sent(server: SqsServer) -> None:
    queue = FaultQueue(server.url)
    feeder = Feeder(queue, Workload(100_000, rate=100.0, beyond_bmp=server.beyond_bmp))
    until(lambda: len(feeder.sent) > 5)
    assert not feeder.finished
    feeder.stop()
    assert feeder.finished
    assert queue.left() == _by_id(feeder.sent)


def test_a_message_that_sqs_refuses_is_no_silent_loss(server: SqsServer) -> None:
    queue = FaultQueue(server.url)
    with pytest.raises(CallRefused):
        queue.send([Message("x" * (MOST_BYTES + 1), "", {})])


def test_a_server_that_ends_at_once_is_reported_with_what_it_printed(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no port for you"):
        SqsServer("courier", (sys.executable, "-c", "raise SystemExit('no port for you')"), tmp_path / "log")


def test_without_node_it_is_said_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"node is missing, npm is missing; .* apt-get install nodejs npm"):
        start_server("fauxqs", tmp_path)


def test_a_node_that_is_too_old_is_as_good_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("node", "npm"):
        (tmp_path / name).write_text("#!/bin/sh\necho v18.19.0\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "node --version says 'v18.19.0'" in node_missing()


def _plain(count: int) -> Iterator[Message]:
    return messages(Workload(count, beyond_bmp=False, seed=4))


def _by_id(sent: list[Sent]) -> dict[str, bytes]:
    return {each.message_id: each.digest for each in sent}


def _receive(queue: FaultQueue, server: SqsServer, *, seconds: int, count: int = 10) -> dict[str, Any]:
    """Receive as a program does, and return the receipts by message id."""
    answer = sqs_client(server.url).receive_message(
        QueueUrl=queue.url, MaxNumberOfMessages=count, VisibilityTimeout=seconds
    )
    return {message["MessageId"]: message["ReceiptHandle"] for message in answer.get("Messages", ())}
