"""The real supervisor in a process of its own, over toy roles."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.unit.process.waiting import DEADLINE, eventually

TOY = Path(__file__).with_name("toy.py")


class Event(NamedTuple):
    role: str
    slot: int
    pid: int
    word: str


def is_gone(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def pipes_of(pid: int, writing: bool = False) -> set[str]:
    """Return the pipes of which a process holds an end, or a write end; standard streams aside."""
    pipes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        flags = int(Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text().split()[3], 8)
        if int(entry.name) > 2 and (not writing or flags & os.O_ACCMODE != os.O_RDONLY):
            pipes.add(os.readlink(entry))
    return {target for target in pipes if target.startswith("pipe:")}


def bells_of(pid: int) -> int:
    return sum("eventfd" in os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir())


class Toy:
    """A running toy program; it leads a process group of its own."""

    def __init__(self, directory: Path, scenario: str, *timeouts: float, prefix: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.log = directory / "log"
        command = [*prefix, sys.executable, str(TOY), scenario, str(directory), *map(str, timeouts)]
        with self.log.open("wb") as stderr:
            self.process = subprocess.Popen(command, stderr=stderr, start_new_session=True)

    def events(self, word: str | None = None) -> list[Event]:
        path = self.directory / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        events = [Event(role, int(slot), int(pid), said) for role, slot, pid, said in map(str.split, lines)]
        return [event for event in events if word is None or event.word == word]

    def logged(self, event: str, **fields: object) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event and fields.items() <= line.items()]

    def wait_for_event(self, word: str, count: int = 1) -> list[Event]:
        def enough() -> list[Event]:
            events = self.events(word)
            return events if len(events) >= count else []

        return eventually(enough, f"{count} × {word!r}\n{self.log.read_text()}")

    def wait_for_log(self, event: str, **fields: object) -> dict[str, Any]:
        return eventually(lambda: self.logged(event, **fields), f"{event!r} in the log\n{self.log.read_text()}")[0]

    def worker(self, role: str, index: int = 0) -> int:
        """Return the pid of the newest worker of a slot."""
        return [event.pid for event in self.events("ready") if (event.role, event.slot) == (role, index)][-1]

    def pids(self) -> set[int]:
        return {event.pid for event in self.events()}

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.send_signal(number)
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE)


Start = Callable[..., Toy]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    toys: list[Toy] = []

    def start_toy(scenario: str, *timeouts: float, prefix: tuple[str, ...] = ()) -> Toy:
        toys.append(Toy(tmp_path, scenario, *timeouts, prefix=prefix))
        return toys[-1]

    yield start_toy
    for toy in toys:
        toy.close()


@pytest.fixture
def idle(start: Start) -> Toy:
    """A program that is up: an auditor, two senders, a consumer."""
    toy = start("idle")
    toy.wait_for_log("ready")
    return toy


def test_sigterm_drains_and_exits_0_leaving_nobody(idle: Toy) -> None:
    assert idle.stop() == 0
    assert all(is_gone(pid) for pid in idle.pids())
    assert len(idle.events("drained")) == 4
    assert idle.logged("stopped", exit_code=0, restarts=0)


def test_ctrl_c_reaches_the_whole_group_and_cuts_nobody(idle: Toy) -> None:
    os.killpg(idle.process.pid, signal.SIGINT)
    assert idle.process.wait(DEADLINE) == 0
    assert len(idle.events("drained")) == 4
    assert not idle.logged("worker died")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGTTIN", "SIGTTOU"])
def test_workers_ignore_what_only_the_supervisor_acts_on(idle: Toy, name: str) -> None:
    for pid in idle.pids():
        os.kill(pid, getattr(signal, name))
    assert idle.stop() == 0
    assert len(idle.events("drained")) == 4
    assert not idle.logged("worker died")


@pytest.mark.parametrize("role", ["consumer", "sender", "auditor"])
def test_a_sigkilled_worker_is_replaced_at_once(idle: Toy, role: str) -> None:
    victim = idle.worker(role)
    os.kill(victim, signal.SIGKILL)
    idle.wait_for_event("ready", 5)
    assert idle.worker(role) != victim
    assert idle.logged("worker died", role=role, index=0, pid=victim, signal="SIGKILL", restart_in=0.0)
    assert idle.stop() == 0
    assert idle.logged("stopped", restarts=1)


def test_all_workers_sigkilled_at_once_are_all_replaced(idle: Toy) -> None:
    for pid in idle.pids():
        os.kill(pid, signal.SIGKILL)
    idle.wait_for_event("ready", 8)
    assert idle.stop() == 0


def test_a_worker_that_cannot_start_stops_the_program_with_its_line(start: Start) -> None:
    toy = start("cannot-start")
    assert toy.process.wait(DEADLINE) == 3
    assert toy.logged("cannot start", role="sender", reason="the disk is on fire", advice="put it out")
    assert all(is_gone(pid) for pid in toy.pids())


def test_after_the_first_ready_a_worker_that_cannot_start_is_an_ordinary_death(start: Start) -> None:
    toy = start("cannot-start-again")
    toy.wait_for_log("ready")
    os.kill(toy.worker("sender"), signal.SIGKILL)
    toy.wait_for_log("worker died", role="sender", code=3, restart_in=0.25)
    toy.wait_for_log("worker died", role="sender", code=3, restart_in=0.5)
    assert toy.stop() == 0


def test_a_worker_that_fails_says_why_and_is_tried_again_later_and_later(start: Start) -> None:
    toy = start("fails")
    toy.wait_for_log("worker died", role="sender", code=1, restart_in=0.5)
    assert "ValueError: a bug" in toy.logged("worker failed", role="sender")[0]["exception"]
    assert toy.stop() == 0


def test_what_a_callback_raises_ends_the_worker(start: Start) -> None:
    toy = start("fails-in-callback")
    toy.wait_for_log("ready")
    toy.wait_for_log("worker died", role="sender", code=1)
    assert "not a number" in toy.logged("worker failed", role="sender")[0]["exception"]
    assert toy.stop() == 0


def test_a_worker_that_exits_untold_is_a_death(start: Start) -> None:
    toy = start("exits")
    toy.wait_for_log("ready")
    toy.wait_for_log("worker died", role="sender", code=0)
    assert toy.stop() == 0


def test_the_death_of_a_worker_is_rung_to_the_others_of_its_role_once_it_is_off_the_board(start: Start) -> None:
    toy = start("hears")
    toy.wait_for_log("ready")
    victim = toy.worker("sender")
    os.kill(victim, signal.SIGKILL)

    def heard() -> list[Event]:
        return [event for event in toy.events() if event.word.startswith("heard-")]

    [first, *_] = eventually(heard, "the bell is heard")
    assert (first.role, first.slot) == ("sender", 1)
    assert first.word != f"heard-{victim}"
    assert toy.stop() == 0


def test_only_the_workers_of_a_role_keep_its_bells(start: Start) -> None:
    toy = start("hears")
    toy.wait_for_log("ready")
    held = {event.role: bells_of(event.pid) for event in toy.events("ready")}
    assert held["sender"] - 4 == held["consumer"] == held["auditor"]
    assert toy.stop() == 0


def test_a_worker_that_no_process_can_be_had_for_is_tried_again(idle: Toy) -> None:
    pid = idle.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    os.kill(idle.worker("sender"), signal.SIGKILL)
    idle.wait_for_log("cannot fork", role="sender")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    idle.wait_for_event("ready", 5)
    assert idle.stop() == 0


def test_a_stopped_worker_is_shot_and_replaced(start: Start) -> None:
    toy = start("idle", 3)
    toy.wait_for_log("ready")
    victim = toy.worker("sender", 1)
    os.kill(victim, signal.SIGSTOP)
    toy.wait_for_log("worker hangs, aborted", role="sender", index=1, pid=victim)
    toy.wait_for_event("ready", 5)
    assert is_gone(victim)
    assert toy.stop() == 0


def test_a_blocked_worker_prints_its_stack_before_it_is_replaced(start: Start) -> None:
    toy = start("blocks", 1)
    toy.wait_for_log("worker died", role="sender", signal="SIGABRT")
    assert "Fatal Python error: Aborted" in toy.log.read_text()
    # On a busy machine the first one may be shot before it got that far; the next one is blocked in the same way.
    deadline = time.monotonic() + 40.0
    while "in blocks" not in toy.log.read_text():
        assert time.monotonic() < deadline, toy.log.read_text()[-2000:]
        time.sleep(0.05)


def test_a_worker_that_the_kernel_ends_for_a_fault_leaves_its_stack_in_the_log(start: Start) -> None:
    toy = start("segfaults")
    died = toy.wait_for_log("worker died", role="sender", signal="SIGSEGV")
    assert "in segfaults" in died["stacks"]
    toy.wait_for_log("ready")
    assert toy.stop() == 0


def test_a_program_stopped_as_a_whole_and_continued_shoots_nobody(start: Start) -> None:
    toy = start("idle", 4)
    toy.wait_for_log("ready")
    os.killpg(toy.process.pid, signal.SIGSTOP)
    time.sleep(5.0)  # not to synchronise: longer than the timeout is what this is about
    os.killpg(toy.process.pid, signal.SIGCONT)
    toy.wait_for_log("the supervisor's turn was late; all workers get a new beat period")
    assert toy.stop() == 0
    assert len(toy.pids()) == 4
    assert not toy.logged("worker hangs, aborted")


def test_sigkill_of_the_supervisor_leaves_no_process(idle: Toy) -> None:
    idle.process.kill()
    idle.process.wait(DEADLINE)
    eventually(lambda: all(is_gone(pid) for pid in idle.pids()), "the workers are gone")
    assert len(idle.events("orphaned")) == 4


def test_sigkill_of_the_supervisor_ends_workers_whose_loop_is_blocked(start: Start) -> None:
    toy = start("blocks")
    toy.wait_for_log("ready")
    toy.process.kill()
    toy.process.wait(DEADLINE)
    eventually(lambda: all(is_gone(pid) for pid in toy.pids()), "the workers are gone")


def test_sigkill_of_the_supervisor_amid_a_drain_leaves_no_process(start: Start) -> None:
    toy = start("outlasts")
    toy.wait_for_log("ready")
    toy.send_signal(signal.SIGTERM)
    toy.wait_for_event("stays", 2)
    toy.process.kill()
    toy.process.wait(DEADLINE)
    eventually(lambda: all(is_gone(pid) for pid in toy.pids()), "the workers are gone")


def test_stages_drain_one_after_another_and_the_last_reads_its_channel_to_the_end(start: Start) -> None:
    toy = start("pipeline")
    toy.wait_for_log("ready")
    assert toy.stop() == 0
    said = [(event.role, event.word) for event in toy.events() if event.word != "ready"]
    roles = [role for role, _ in said]
    assert roles == sorted(roles, key=["consumer", "sender", "auditor"].index)
    assert sorted(said[-3:-1]) == [("auditor", "took-last-of-0"), ("auditor", "took-last-of-1")]
    assert said[-1] == ("auditor", "eof")
    assert [line["role"] for line in toy.logged("stage drained")] == ["consumer", "sender", "auditor"]


def test_workers_that_outlast_the_drain_are_killed_and_their_work_told_by_the_exit_code(start: Start) -> None:
    toy = start("outlasts", 30, 1)
    toy.wait_for_log("ready")
    assert toy.stop() == 4
    assert len(toy.logged("worker exceeds the drain timeout; killed", role="sender")) == 2
    assert toy.logged("stopped", exit_code=4, unfinished=2)
    assert len(toy.events("drained")) == 2


def test_deliveries_cut_at_the_deadline_are_told_by_the_exit_code(start: Start) -> None:
    toy = start("cuts", 30, 1)
    toy.wait_for_log("ready")
    assert toy.stop() == 4
    assert len(toy.events("cut")) == 2
    assert not toy.logged("worker exceeds the drain timeout; killed")
    assert toy.logged("stopped", unfinished=2)


def test_packets_that_nobody_took_are_told_by_the_exit_code(start: Start) -> None:
    toy = start("leaves-unread")
    toy.wait_for_log("ready")
    assert toy.stop() == 4
    assert toy.logged("stopped", unread=True)


def test_a_worker_that_dies_while_draining_is_replaced_where_its_work_must_be_finished(start: Start) -> None:
    toy = start("outlasts-replaced")
    toy.wait_for_log("ready")
    toy.send_signal(signal.SIGTERM)
    for event in toy.wait_for_event("stays", 2):
        os.kill(event.pid, signal.SIGKILL)
    toy.wait_for_event("drained", 4)
    # The replacements finish, but what the dead had in memory comes again from the queue.
    assert toy.process.wait(DEADLINE) == 4


def test_a_worker_whose_turn_to_drain_has_not_come_is_replaced(start: Start) -> None:
    toy = start("outlasts")
    toy.wait_for_log("ready")
    toy.send_signal(signal.SIGTERM)
    toy.wait_for_event("stays", 2)
    victim = toy.worker("auditor")
    os.kill(victim, signal.SIGKILL)
    toy.wait_for_event("ready", 5)
    assert toy.worker("auditor") != victim


def test_a_second_signal_stops_at_once(start: Start) -> None:
    toy = start("outlasts", 30, 600)
    toy.wait_for_log("ready")
    toy.send_signal(signal.SIGTERM)
    toy.wait_for_event("stays", 2)
    assert toy.stop(signal.SIGINT) == 4
    assert toy.events("orphaned")[0].role == "auditor"
    assert all(is_gone(pid) for pid in toy.pids())


def test_a_third_signal_kills(start: Start) -> None:
    toy = start("outlasts", 30, 600)
    toy.wait_for_log("ready")
    toy.send_signal(signal.SIGTERM)
    toy.wait_for_event("stays", 2)
    toy.send_signal(signal.SIGTERM)
    toy.wait_for_log("stopping at once")
    assert toy.stop() == 4
    assert toy.logged("killing all")


def test_sigttin_adds_a_sender_until_the_slots_are_full_and_sigttou_takes_one_out_until_one_is_left(idle: Toy) -> None:
    for count in (5, 6):
        idle.send_signal(signal.SIGTTIN)
        idle.wait_for_event("ready", count)
    idle.send_signal(signal.SIGTTIN)
    idle.wait_for_log("no spare slot for another worker")
    for count in (1, 2, 3):
        idle.send_signal(signal.SIGTTOU)
        idle.wait_for_event("drained", count)
        eventually(lambda count=count: len(idle.logged("worker left")) == count, "it left")  # type: ignore[misc]
    assert [(event.role, event.slot) for event in idle.events("drained")] == [
        ("sender", 3),
        ("sender", 2),
        ("sender", 1),
    ]
    idle.send_signal(signal.SIGTTOU)
    idle.wait_for_log("the last worker stays")
    idle.send_signal(signal.SIGTTIN)
    idle.wait_for_event("ready", 7)
    assert idle.worker("sender", 1)
    assert not idle.logged("worker died")
    assert idle.stop() == 0


def test_sigusr1_rotates_where_that_means_something(idle: Toy) -> None:
    idle.send_signal(signal.SIGUSR1)
    assert [event.role for event in idle.wait_for_event("rotated")] == ["auditor"]
    assert idle.stop() == 0
    assert len(idle.events("rotated")) == 1


def test_sigusr2_prints_the_stacks_of_all_under_their_names(idle: Toy) -> None:
    idle.send_signal(signal.SIGUSR2)
    asked = "stacks, requested by SIGUSR2"
    for role, index, pid in [("auditor", 0, idle.worker("auditor")), ("sender", 1, idle.worker("sender", 1))]:
        line = idle.wait_for_log(asked, role=role, index=index, of_pid=pid)
        assert "in run_child" in line["stacks"]
    assert idle.wait_for_log(asked, role="supervisor", of_pid=idle.process.pid)
    assert idle.stop() == 0
    assert len(idle.logged(asked)) == 1 + len(idle.pids())


def test_a_stopped_worker_keeps_nobody_else_from_showing_its_stacks(idle: Toy) -> None:
    stopped = idle.worker("sender", 1)
    os.kill(stopped, signal.SIGSTOP)
    idle.send_signal(signal.SIGUSR2)
    asked = "stacks, requested by SIGUSR2"
    assert idle.wait_for_log(asked, of_pid=stopped)["stacks"].startswith("none within 1 s")
    assert len(idle.logged(asked)) == 1 + len(idle.pids())
    os.kill(stopped, signal.SIGCONT)
    assert idle.stop() == 0


def test_workers_bear_their_role_in_the_process_list(idle: Toy) -> None:
    title = Path(f"/proc/{idle.worker('sender', 1)}/cmdline").read_bytes()
    assert title.rstrip(b"\0") == b"courier: sender 1"


def test_a_worker_holds_no_descriptor_but_its_own(idle: Toy) -> None:
    """A write end of another's lifeline, held by mistake, would keep that one from ever draining."""
    os.kill(idle.worker("sender"), signal.SIGKILL)
    idle.wait_for_event("ready", 5)
    for pid in (idle.worker("sender"), idle.worker("consumer")):
        shared = pipes_of(pid) & pipes_of(idle.process.pid)
        assert len(shared) == 2
        assert not shared & pipes_of(pid, writing=True)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs to make a pid namespace")
def test_as_pid_1_it_reaps_what_is_not_its_own_and_stops_on_sigterm(start: Start) -> None:
    toy = start("adopts", prefix=("unshare", "--fork", "--pid", "--mount-proc", "--kill-child"))
    toy.wait_for_log("ready")
    assert toy.wait_for_event("ppid-1-reaped")
    children = Path(f"/proc/{toy.process.pid}/task/{toy.process.pid}/children")
    os.kill(int(children.read_text()), signal.SIGTERM)
    assert toy.process.wait(DEADLINE) == 0


def announce(toy: Toy, seconds: float) -> None:
    """Let the platform announce the end of the machine."""
    written = toy.directory / "ends-in.new"
    written.write_text(str(seconds))
    written.rename(toy.directory / "ends-in")


def test_an_announced_end_of_the_machine_drains_in_time_however_long_the_drain_timeout_is(start: Start) -> None:
    toy = start("departs", 30.0, 60.0)
    toy.wait_for_log("ready")
    announce(toy, 7.0)
    # Both senders stay to their deadline, five seconds in.
    assert toy.process.wait(DEADLINE) == 4
    (line,) = toy.logged("draining")
    assert line["reason"] == "EC2 reclaims the spot instance"
    assert 4.0 < line["timeout"] <= 5.0
    assert len(toy.events("cut")) == 2
    assert not toy.logged("worker exceeds the drain timeout; killed")


def test_the_first_signal_after_an_announced_end_cuts_nothing_and_the_second_does(start: Start) -> None:
    toy = start("departs", 30.0, 60.0)
    toy.wait_for_log("ready")
    announce(toy, 3600.0)
    toy.wait_for_log("draining")
    toy.send_signal(signal.SIGTERM)
    toy.wait_for_log("draining already", signal="SIGTERM")
    assert not toy.logged("stopping at once")
    toy.send_signal(signal.SIGTERM)
    toy.process.wait(DEADLINE)
    assert toy.logged("stopping at once")


def test_an_announced_end_shortens_a_drain_that_goes_on(start: Start) -> None:
    toy = start("departs", 30.0, 600.0)
    toy.wait_for_log("ready")
    toy.send_signal(signal.SIGTERM)
    toy.wait_for_log("draining", timeout=600.0)
    announce(toy, 6.0)
    assert toy.process.wait(DEADLINE) == 4
    assert len(toy.events("cut")) == 2


def test_a_stage_gets_its_own_seconds_even_if_the_drain_used_up_its_time(start: Start) -> None:
    toy = start("departs-hanging", 30.0, 1.0)
    toy.wait_for_log("ready")
    assert toy.stop() == 4
    assert [event.role for event in toy.events("drained")][-1] == "watcher"
    assert not toy.logged("worker exceeds the drain timeout; killed", role="watcher")
