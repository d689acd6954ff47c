"""Sending to a server that fails some entries of a batch, or is gone."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPException

import pytest

from courier.local.virtual import sending
from courier.local.virtual.content import read_message
from courier.local.virtual.errors import SERVICE_UNAVAILABLE, ServiceError
from courier.local.virtual.faults import Faults
from courier.local.virtual.parameters import Parameters
from courier.local.virtual.service import VirtualSqs
from scripts.faults.events import digest
from scripts.faults.fault_queue import PER_CALL, FaultQueue, batches
from scripts.faults.feeder import Feeder
from scripts.faults.sqs_calls import CallRefused
from scripts.faults.workload import MOST_BYTES, Message, Workload, messages, size_of
from tests.threaded_server import ThreadedServer


def test_a_batch_holds_ten_messages_and_a_mebibyte_at_most() -> None:
    made = list(messages(Workload(600, sizes="mixed", attributes=True)))
    split = list(batches(made))
    assert [message for batch in split for message in batch] == made
    assert all(len(batch) <= PER_CALL and sum(map(size_of, batch)) <= MOST_BYTES for batch in split)
    assert len(split) < 80


class FirstTry(Faults):
    """Each third entry of a send fails once, for no fault of its own; calls are refused while ``down`` is set."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.down = False

    def call(self, action: str, parameters: Parameters) -> ServiceError | None:
        return ServiceError(SERVICE_UNAVAILABLE, "down") if self.down else None

    def entry(self, action: str, entry: Parameters) -> ServiceError | None:
        body = entry.get("MessageBody", "")
        if action != "SendMessageBatch" or body in self.seen or not body.startswith("{") or int(entry["Id"]) % 3:
            return None
        self.seen.add(body)
        return ServiceError(SERVICE_UNAVAILABLE, "once", sender_fault=False)


@pytest.fixture
def faults() -> FirstTry:
    return FirstTry()


@pytest.fixture
def server(faults: FirstTry) -> Iterator[ThreadedServer]:
    started = ThreadedServer(VirtualSqs(faults=faults).handle)
    yield started
    started.stop()


def test_an_entry_that_failed_is_sent_again_and_stands_where_it_was_accepted(
    server: ThreadedServer, faults: FirstTry
) -> None:
    queue = FaultQueue(server.url, fifo=True)
    made = list(messages(Workload(50, groups=1)))
    sent = queue.send(made)
    assert len(faults.seen) > 5
    bodies = [digest(message.body.encode()) for message in made]
    assert sorted(each.digest for each in sent) == sorted(bodies)
    assert [each.digest for each in sent] != bodies
    # One group: SQS gives it out in the order in which it accepted it, and left() finds it so.
    assert list(queue.left().items()) == [(each.message_id, each.digest) for each in sent]


def test_a_feeder_whose_server_fails_says_so(server: ThreadedServer, faults: FirstTry) -> None:
    feeder = Feeder(FaultQueue(server.url), Workload(1_000_000, rate=100.0))
    faults.down = True
    with pytest.raises(CallRefused, match="SendMessageBatch: 503"):
        feeder.wait(30)
    with pytest.raises(CallRefused):
        feeder.stop()
    assert feeder.finished


def test_a_server_that_is_gone_is_an_error_of_the_call(server: ThreadedServer) -> None:
    queue = FaultQueue(server.url)
    server.go_away()
    with pytest.raises((OSError, HTTPException)):
        queue.state()
    server.come_back()
    assert queue.state().total == 0


def test_a_body_that_the_server_altered_is_refused(server: ThreadedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = FaultQueue(server.url)
    monkeypatch.setattr(
        sending, "read_message", lambda given, trace: read_message({**given, "MessageBody": "other"}, trace)
    )
    with pytest.raises(CallRefused, match="took another body"):
        queue.send([Message("mine", "", {})])
