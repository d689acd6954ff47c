"""Courier as the suite runs it: a tree of processes that can be hurt, and of which nothing is left."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from courier.audit.reader import read_records
from scripts.faults.process_tree import ProcessTree, state
from scripts.faults.program import CourierAdapter, Instance, ProgramFailed, Setting
from tests.integration.sqs_endpoints import virtual_queue  # noqa: F401
from tests.process.world import Queue, Recipient, until

Start = Callable[..., Instance]


@pytest.fixture
def recipient() -> Iterator[Recipient]:
    recipient = Recipient()
    yield recipient
    recipient.stop()


@pytest.fixture
def queue(virtual_queue: str) -> Queue:  # noqa: F811
    return Queue(virtual_queue)


@pytest.fixture
def setting(queue: Queue, recipient: Recipient, tmp_path: Path) -> Setting:
    options = ("--consumers", "1", "--senders", "2")
    return Setting(queue.url, queue.endpoint, "us-east-1", recipient.url, tmp_path / "run", options)


def test_courier_delivers_records_and_drains(setting: Setting, queue: Queue) -> None:
    ids = queue.send(["a", "b", "c"])
    with CourierAdapter().start(setting).wait_ready() as courier:
        until(lambda: queue.counts() == (0, 0), explain=courier.log)
        assert courier.alive
        assert courier.drain() == 0
        assert not courier.alive
    assert sorted(record.message_id for record in read_records(setting.audit)) == sorted(ids)


def test_each_role_has_its_processes(setting: Setting) -> None:
    with CourierAdapter().start(setting).wait_ready() as courier:
        counts = {"supervisor": 1, "consumer": 1, "sender": 2, "auditor": 1, "api": 0, "worker": 4, "any": 5}
        until(lambda: {role: len(courier.pids(role)) for role in counts} == counts, explain=courier.log)
        assert courier.pids("supervisor") == [courier.pid]
        assert courier.rss() > 1000
        assert courier.descriptors() > 10
        assert courier.cpu() > 0


def test_the_successor_of_a_killed_process_has_its_role(setting: Setting) -> None:
    with CourierAdapter().start(setting).wait_ready() as courier:
        until(lambda: len(courier.pids("sender")) == 2, explain=courier.log)
        victim, other = courier.pids("sender")
        assert courier.kill(victim)
        until(lambda: len(courier.pids("sender")) == 2 and victim not in courier.pids("sender"), explain=courier.log)
        assert other in courier.pids("sender")
        assert not courier.kill(victim)


def test_a_process_stops_and_goes_on(setting: Setting) -> None:
    with CourierAdapter().start(setting).wait_ready() as courier:
        until(lambda: courier.pids("auditor"), explain=courier.log)
        [pid] = courier.pids("auditor")
        assert courier.stop_process(pid)
        until(lambda: state(pid) == "T")
        assert courier.go_on(pid)
        until(lambda: state(pid) in ("S", "R"))


def test_a_power_cut_leaves_no_process_and_the_next_run_goes_on(setting: Setting, queue: Queue) -> None:
    with CourierAdapter().start(setting).wait_ready() as courier:
        tree = ProcessTree(courier.pid)
        assert len(tree.living()) >= 5
        courier.kill_all()
        assert tree.living() == []
        assert not courier.alive
        assert courier.pids("any") == []
        courier.kill_all()
    queue.send(["a"])
    with CourierAdapter().start(setting).wait_ready() as successor:
        until(lambda: queue.counts() == (0, 0), explain=successor.log)
        assert successor.log_path != courier.log_path
    assert ProcessTree(successor.pid).living() == []


def test_a_power_cut_ends_the_workers_of_a_killed_supervisor_too(setting: Setting) -> None:
    with CourierAdapter().start(setting).wait_ready() as courier:
        courier.kill(courier.pid)
        courier.kill_all()
        assert ProcessTree(courier.pid).living() == []


def test_ctrl_c_reaches_all_and_drains(setting: Setting) -> None:
    with CourierAdapter().start(setting).wait_ready() as courier:
        courier.signal_all(signal.SIGINT)
        assert courier.wait(60.0) == 0


def test_each_delivery_comes_from_a_connection_of_a_sender(
    setting: Setting, queue: Queue, recipient: Recipient
) -> None:
    with CourierAdapter().start(setting).wait_ready() as courier:
        queue.send(["a"])
        port = int(recipient.server.url.rpartition(":")[2])

        def senders() -> list[int]:
            return [p for p in courier.pids("sender") if any(c.remote == port for c in courier.connections(p))]

        until(senders, explain=courier.log)
        assert all(connection.remote != port for connection in courier.connections(courier.pids("auditor")[0]))


def test_a_program_that_cannot_start_says_why(setting: Setting) -> None:
    adapter = CourierAdapter(arguments=("--no-such-option",))
    with adapter.start(setting) as courier, pytest.raises(ProgramFailed, match="no-such-option"):
        courier.wait_ready()


def test_a_module_of_this_suite_can_run_in_its_place_from_any_directory(
    queue: Queue, recipient: Recipient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    setting = Setting(queue.url, queue.endpoint, "us-east-1", recipient.url, tmp_path / "run")
    adapter = CourierAdapter("scripts.bench.queue_server", ("--latency-ms", "0"), name="other")
    with adapter.start(setting) as other:
        until(lambda: "listening on" in other.log(), explain=other.log)
    assert other.log_path.name == "other-1.log"
