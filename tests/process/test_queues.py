"""Several queues in one program: what happens to one leaves the others alone."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from courier.local.exchange import Response
from tests.process.several_queues import Program
from tests.process.test_notify import ServiceManager
from tests.process.world import Queue, Recipient, alive, bodies, missing, until

StartProgram = Callable[..., Program]


@pytest.fixture
def queues(virtual_queue: str) -> dict[str, Queue]:
    return {name: Queue(virtual_queue) for name in ("orders", "mails", "images")}


@pytest.fixture
def program(tmp_path: Path, recipient: Recipient, queues: dict[str, Queue]) -> Iterator[StartProgram]:
    running: list[Program] = []

    def start(*options: str, run: bool = True, **above: object) -> Program:
        above = {"senders": 1, "consumers": 1, **above}
        started = Program(tmp_path, recipient.url, queues, *options, **above)
        running.append(started)
        return started.wait_until_all_run() if run else started

    yield start
    for each in running:
        each.kill()


def deliver(queues: dict[str, Queue], recipient: Recipient, started: Program) -> None:
    """Send to all queues, and wait until the recipient has all of it."""
    sent = [message for queue in queues.values() for message in queue.send(bodies(10))]
    until(lambda: not missing(sent, recipient.accepted), explain=started.log)


def test_each_queue_is_delivered_and_recorded_by_its_own_processes(
    program: StartProgram, queues: dict[str, Queue], recipient: Recipient
) -> None:
    started = program()
    sent = {name: queue.send(bodies(20)) for name, queue in queues.items()}
    until(lambda: all(queue.counts() == (0, 0) for queue in queues.values()), explain=started.log)
    assert started.drain() == 0
    for name, ids in sent.items():
        assert started.recorded_of(name) == dict.fromkeys(ids, 1)
    assert recipient.duplicates() == {}
    assert not [pid for name in queues for pid in started.of(name)]


def test_nothing_of_the_others_notices_the_death_or_the_stop_of_a_supervisor(
    program: StartProgram, queues: dict[str, Queue], recipient: Recipient
) -> None:
    started = program(**{"hang-timeout": 1, "visibility-timeout": 6})
    others = {name: started.workers(name) for name in ("mails", "images")}
    for number in (signal.SIGKILL, signal.SIGSTOP):
        workers = started.workers("orders")
        started.replace("orders", number)
        # Two generations of workers never write to the same slots.
        assert not [pid for pid in workers if alive(pid)]
        deliver(queues, recipient, started)
    assert {name: started.workers(name) for name in others} == others
    assert len(started.lines("supervisor of a queue died", "queue=orders")) == 2
    until(lambda: all(queue.counts() == (0, 0) for queue in queues.values()), explain=started.log)
    assert started.drain() == 0


def test_a_queue_that_is_stopped_as_a_whole_is_replaced_as_a_whole(
    program: StartProgram, queues: dict[str, Queue], recipient: Recipient
) -> None:
    started = program(**{"hang-timeout": 1})
    started.replace("orders", signal.SIGSTOP, whole=True)
    deliver(queues, recipient, started)


def test_a_queue_that_cannot_start_is_tried_until_it_can_and_the_others_deliver(
    program: StartProgram, queues: dict[str, Queue], recipient: Recipient
) -> None:
    queues["late"] = queues["images"]
    del queues["images"]
    there, queues["late"].name = queues["late"].name, "not-there-yet"
    started = program(run=False).wait_until_all_run("orders", "mails")
    sent = [*queues["orders"].send(bodies(5)), *queues["mails"].send(bodies(5))]
    until(lambda: not missing(sent, recipient.accepted), explain=started.log)
    until(lambda: started.lines("queue cannot start", "queue=late"), explain=started.log)
    assert started.steered.done("status")["state"] == "not ready"
    queues["late"].sqs.create_queue(QueueName="not-there-yet")
    started.wait_until_all_run("late")
    until(lambda: started.steered.done("status")["state"] == "ready", explain=started.log)
    assert there
    assert started.drain() == 0


def test_a_program_of_which_no_queue_can_start_ends_as_one_of_one_queue_does(
    program: StartProgram, queues: dict[str, Queue]
) -> None:
    for number, queue in enumerate(queues.values()):
        queue.name = f"not-there-{number}"
    started = program(run=False)
    assert started.wait(60) == 3
    assert len(started.lines("queue cannot start")) >= len(queues)


def test_no_process_of_any_queue_outlives_the_first_process(program: StartProgram, queues: dict[str, Queue]) -> None:
    started = program()
    for queue in queues.values():
        queue.send(bodies(50))
    stopped = started.supervisor("orders")
    os.kill(stopped, signal.SIGSTOP)
    started.signal(signal.SIGKILL)
    started.wait(10)
    until(lambda: not [pid for name in queues for pid in started.of(name)], 10)


def test_signals_to_a_queue_have_no_effect_and_to_the_group_of_the_program_they_count_once(
    program: StartProgram, queues: dict[str, Queue]
) -> None:
    started = program()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN):
        os.kill(started.supervisor("orders"), number)
    before = started.supervisor("orders")
    time.sleep(1.2)
    assert started.supervisor("orders") == before
    assert not started.lines("draining")
    started.signal_group(signal.SIGINT)
    assert started.wait(60) == 0
    assert not started.lines("stopping at once")


def test_a_second_signal_stops_all_queues_at_once(
    program: StartProgram, queues: dict[str, Queue], recipient: Recipient
) -> None:
    recipient.behave = lambda delivery: Response(503)
    started = program(**{"drain-timeout": 50, "breaker-threshold": 0})
    started.signal(signal.SIGTERM)
    until(lambda: len(started.lines("event=draining")) >= 4, explain=started.log)
    started.signal(signal.SIGTERM)
    assert started.wait(20) in (0, 4)


def test_a_reload_adds_changes_and_removes_queues_and_refuses_only_the_table_that_is_wrong(
    program: StartProgram, queues: dict[str, Queue], recipient: Recipient, virtual_queue: str
) -> None:
    started = program()
    untouched = started.workers("orders")
    new = Queue(virtual_queue)
    started.write(images=None, mails={"senders": 0}, news={"queue": new.name})
    started.signal(signal.SIGHUP)
    until(lambda: started.lines("queue left", "queue=images"), explain=started.log)
    started.wait_until_all_run("news")
    until(lambda: started.lines("cannot reload", "queue=mails"), explain=started.log)
    assert not started.of("images")
    sent = [*new.send(bodies(5)), *queues["mails"].send(bodies(5)), *queues["orders"].send(bodies(5))]
    until(lambda: not missing(sent, recipient.accepted), explain=started.log)
    assert started.workers("orders") == untouched
    # What was wrong is right now, and what was gone is back.
    started.write(mails={"senders": 2}, images={"queue": queues["images"].name})
    started.signal(signal.SIGHUP)
    until(lambda: len(started.lines("event=reloaded", "queue=mails")) == 1, explain=started.log)
    until(lambda: len(started.lines("event=ready", "queue=images")) == 2, explain=started.log)
    # A queue whose supervisor dies starts with what is in force, whatever the file says now.
    started.write(mails={"senders": 0})
    os.kill(started.supervisor("mails"), signal.SIGKILL)
    until(lambda: len(started.lines("event=started", "sender=2", "queue=mails")) == 1, explain=started.log)
    assert started.drain() == 0


def test_a_wrong_table_refuses_the_start_and_names_itself(program: StartProgram, queues: dict[str, Queue]) -> None:
    queues["mails"].name = "no queue's name"
    started = program(run=False)
    assert started.wait(60) == 2
    assert started.log().count("\n") == 1
    assert "courier.toml, queue mails: queue: must be a URL, or a name" in started.log()


def test_an_act_is_about_the_queue_that_it_names_or_about_all(
    program: StartProgram, queues: dict[str, Queue], recipient: Recipient
) -> None:
    started = program()
    steered = started.steered
    assert "orders, mails, images" in steered.refused("pause", queue="nowhere")
    assert (
        steered.done("pause", queue="orders", reason="a test")["text"] == "receiving is paused; what is under way ends"
    )
    assert steered.done("status", queue="orders")["pause"]["reason"] == "a test"
    assert steered.done("status", queue="mails")["pause"] is None
    # The pause is the operator's: it outlives the supervisor that it was told to.
    started.replace("orders", signal.SIGKILL)
    until(lambda: len(started.lines("event=ready", "queue=orders")) == 2, explain=started.log)
    sent = {name: queue.send(bodies(5)) for name, queue in queues.items()}
    others = [*sent["mails"], *sent["images"]]
    until(lambda: not missing(others, recipient.accepted), explain=started.log)
    assert missing(sent["orders"], recipient.accepted) == set(sent["orders"])
    assert set(steered.done("resume")["queues"]) == set(queues)
    until(lambda: not missing(sent["orders"], recipient.accepted), explain=started.log)
    (worker, *_) = started.workers("mails")
    assert "killed" in steered.done("kill", pid=worker)["text"]
    assert "supervisor of queue mails" in steered.refused("kill", pid=started.supervisor("mails"))
    # Drained and started again by a reload.
    steered.done("drain", queue="images")
    until(lambda: not started.of("images"), explain=started.log)
    steered.done("reload")
    until(lambda: len(started.lines("event=ready", "queue=images")) == 2, explain=started.log)
    steered.done("drain")
    assert started.wait(60) == 0


def test_a_supervisor_that_is_stopped_holds_up_no_answer_for_longer_than_a_client_waits(program: StartProgram) -> None:
    started = program(**{"hang-timeout": 60})
    os.kill(started.supervisor("orders"), signal.SIGSTOP)
    answer = started.steered.act("rotate")
    assert answer["ok"] is False
    assert [name for name, each in answer["queues"].items() if each["ok"]] == ["mails", "images"]
    os.kill(started.supervisor("orders"), signal.SIGCONT)
    assert started.steered.done("rotate")


def test_a_message_that_one_recipient_refuses_for_ever_delays_no_other_queue(
    program: StartProgram, queues: dict[str, Queue], recipient: Recipient
) -> None:
    recipient.behave = lambda delivery: Response(500 if b"poison" in delivery.body else 200)
    started = program(**{"breaker-threshold": 3})
    poisoned = queues["orders"].send([f"poison {number}" for number in range(30)])
    # The breaker of that queue opens: its recipient takes nothing.
    until(lambda: len(recipient.deliveries) >= 3, explain=started.log)
    sent = [*queues["mails"].send(bodies(30)), *queues["images"].send(bodies(30))]
    until(lambda: not missing(sent, recipient.accepted), explain=started.log)
    assert missing(poisoned, recipient.accepted) == set(poisoned)
    assert {each.receive_count for each in recipient.deliveries if each.message_id in sent} == {1}


def test_a_first_process_that_was_stopped_takes_no_queue_for_hung(
    program: StartProgram, queues: dict[str, Queue], recipient: Recipient
) -> None:
    started = program(**{"hang-timeout": 1})
    before = {name: started.supervisor(name) for name in queues}
    started.signal(signal.SIGSTOP)
    # Nobody watches the queues meanwhile, and they go on.
    deliver(queues, recipient, started)
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 7.0, 20)
    started.signal(signal.SIGCONT)
    deliver(queues, recipient, started)
    assert {name: started.supervisor(name) for name in queues} == before
    assert started.drain() == 0


def test_the_service_manager_hears_that_the_program_is_ready_and_which_queue_does_not_run(
    program: StartProgram, queues: dict[str, Queue], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues["mails"].name = "not-there"
    manager = ServiceManager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", manager.name)
    started = program(run=False)
    until(lambda: "READY=1" in manager.lines(), 60, started.log)
    until(lambda: any("1 of 3 queues don't run (mails: " in line for line in manager.lines()), 30, started.log)
    assert manager.senders == {started.pid}
    assert started.drain() == 0
    assert "STOPPING=1" in manager.lines()


def test_a_queue_that_could_not_start_starts_by_its_corrected_table(
    program: StartProgram, queues: dict[str, Queue], recipient: Recipient
) -> None:
    there = queues["mails"].name
    queues["mails"].name = "misspelt"
    started = program(run=False).wait_until_all_run("orders", "images")
    until(lambda: started.lines("queue cannot start", "queue=mails"), explain=started.log)
    queues["mails"].name = there
    started.write(mails={"queue": queues["orders"].name})
    said = started.steered.courier("reload")
    assert (said.code, "is that of queue orders too" in said.error) == (1, True), said
    started.write(mails={"queue": there, "senders": 3})
    assert started.steered.courier("reload").code == 0
    started.wait_until_all_run("mails")
    deliver(queues, recipient, started)
    assert started.drain() == 0


def test_the_program_waits_for_a_reload_when_its_last_queue_has_left(
    program: StartProgram, queues: dict[str, Queue], recipient: Recipient, free_port: int
) -> None:
    started = program(api=f"127.0.0.1:{free_port}")
    for name in queues:
        started.steered.done("drain", queue=name)
    until(lambda: len(started.lines("queue left")) == 3, explain=started.log)
    status = started.steered.done("status")
    assert (status["state"], status["queues"]) == ("not ready", {})

    def answer() -> str:
        said = started.steered.courier("status", "--check", "--url", f"http://127.0.0.1:{free_port}")
        return said.out + said.error

    until(lambda: "no queue runs" in answer(), explain=answer)
    started.above["api"] = "none"
    started.write()
    said = started.steered.courier("reload")
    assert (said.code, "--api can't change" in said.error) == (1, True), said
    started.above["api"] = f"127.0.0.1:{free_port}"
    started.write()
    started.steered.done("reload")
    until(lambda: len(started.lines("event=ready", "sender=")) == 6, explain=started.log)
    deliver(queues, recipient, started)
    assert started.drain() == 0


def test_a_reload_of_one_queue_reads_no_table_of_another(program: StartProgram, queues: dict[str, Queue]) -> None:
    started = program()
    started.write(mails={"senders": 2}, images=None)
    said = started.steered.courier("reload", "--queue", "mial")
    assert (said.code, "the tables are orders, mails" in said.error) == (1, True), said
    for wrong in (["mails"], {"mails": 1}, 5, True):
        assert "must be the name" in started.steered.refused("reload", queue=wrong)
    asked = [started.steered.act("reload", queue=f"no-{number}")["ok"] for number in range(200)]
    assert not all(asked), "a client may ask for any number of reloads"
    until(lambda: not started.steered.done("reloading")["busy"], explain=started.log)
    started.steered.done("drain", queue="orders")
    until(lambda: started.lines("queue left", "queue=orders"), explain=started.log)
    assert started.steered.courier("reload", "--queue", "orders").code == 0
    until(lambda: len(started.lines("event=ready", "queue=orders")) == 2, explain=started.log)
    assert started.supervisor("images")
    assert not started.lines("event=reloaded")
    said = started.steered.courier("reload", "--queue", "mails")
    assert (said.code, said.error) == (0, "")
    assert len(started.lines("event=reloaded", "queue=mails")) == 1


def test_a_queue_that_waits_for_its_network_answers_no_act_late(
    program: StartProgram, queues: dict[str, Queue]
) -> None:
    started = program()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started.write(late={"queue": "late", "endpoint-url": f"http://127.0.0.1:{silent.getsockname()[1]}"})
        started.steered.done("reload")
        until(lambda: started.supervisor("late"), explain=started.log)
        paused = started.steered.done("pause", reason="a test")["queues"]
        assert paused["late"]["text"] == "the queue will start paused"
        assert started.steered.done("status", queue="late")["pause"]["reason"] == "a test"
        assert "late: it " in started.steered.refused("scale", senders=2)
        started.steered.done("resume")
        assert started.drain() == 0


@pytest.mark.parametrize("with_path", [False, True])
def test_a_renamed_table_loses_nothing_and_delivers_nothing_twice(
    program: StartProgram, queues: dict[str, Queue], recipient: Recipient, tmp_path: Path, *, with_path: bool
) -> None:
    started = program()
    keys = {"audit-path": str(tmp_path / "kept" / "audit")} if with_path else {}
    started.write(mails=keys)
    started.steered.done("drain", queue="mails")
    until(lambda: started.lines("queue left", "queue=mails"), explain=started.log)
    started.steered.done("reload")
    until(lambda: len(started.lines("event=ready", "queue=mails")) == 2, explain=started.log)

    def behave(_: object) -> Response:
        time.sleep(0.01)
        return Response(200)

    recipient.behave = behave
    sent = queues["mails"].send(bodies(300))
    for number in range(3):
        until(lambda n=number: len(recipient.accepted) > 50 * (n + 1), explain=started.log)  # type: ignore[misc]
        before, after = ("mails", "post") if number % 2 == 0 else ("post", "mails")
        started.write(**{before: None, after: {"queue": queues["mails"].name, **keys}})
        started.steered.done("reload")
        until(lambda name=before: not started.of(name), explain=started.log)  # type: ignore[misc]
    until(lambda: queues["mails"].counts() == (0, 0), explain=started.log)
    assert not missing(sent, recipient.accepted)
    assert recipient.duplicates() == {}
    assert started.drain() == 0
