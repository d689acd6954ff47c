"""The real supervisor reloads toy roles: its workers are replaced one at a time, or all stay as they were."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from courier.errors import CannotStart
from courier.process.short_lived_child import PolledChild
from tests.unit.process.test_supervisor import Start, Toy, is_gone
from tests.unit.process.test_supervisor import start as start
from tests.unit.process.waiting import eventually

SENDERS = 2


def begin(start: Start, scenario: str = "reload", *timeouts: float) -> Toy:
    toy = start(scenario, *timeouts)
    toy.wait_for_event("ready", 4)
    toy.wait_for_log("ready")
    return toy


def configure(toy: Toy, text: str) -> None:
    (toy.directory / "config").write_text(text)
    toy.send_signal(signal.SIGHUP)


def senders(toy: Toy) -> dict[int, str]:
    """Return the live senders, each with the configuration that it has."""
    of = {event.pid: event.word for event in toy.events() if event.word in ("first", "second", "third")}
    return {pid: word for pid, word in of.items() if not is_gone(pid)}


def have(toy: Toy, word: str, count: int = SENDERS) -> bool:
    return sorted(senders(toy).values()) == [word] * count


def fill_all_slots(toy: Toy) -> None:
    for count in (3, 4):
        toy.send_signal(signal.SIGTTIN)
        eventually(lambda count=count: have(toy, "first", count), f"{count} senders")  # type: ignore[misc]


@pytest.mark.parametrize("room", [True, False])
def test_a_reload_replaces_each_sender_and_nobody_else(start: Start, room: bool) -> None:
    toy, count = begin(start), SENDERS if room else 4
    if not room:
        fill_all_slots(toy)
    others = [toy.worker("auditor"), toy.worker("consumer")]
    configure(toy, "second")
    toy.wait_for_log("reloaded", options="--toy second")
    eventually(lambda: have(toy, "second", count), "all senders have the second configuration")
    assert [toy.worker("auditor"), toy.worker("consumer")] == others
    # None died: those of before were asked to go.
    assert not toy.logged("worker died")
    assert len([event for event in toy.events("drained") if event.role == "sender"]) == count
    assert toy.stop() == 0


def test_with_a_free_slot_the_new_sender_is_ready_before_the_old_one_drains(start: Start) -> None:
    toy = begin(start)
    configure(toy, "second")
    toy.wait_for_log("reloaded")
    working, least = 0, SENDERS
    for event in toy.events():
        if event.role == "sender" and event.word in ("ready", "drained"):
            working += 1 if event.word == "ready" else -1
            if len(toy.events("ready")) >= SENDERS and working >= SENDERS:
                least = min(least, working)
            assert working <= SENDERS + 1
    order = [event.word for event in toy.events() if event.word in ("second", "drained")]
    assert order == ["second", "drained"] * SENDERS
    assert least == SENDERS


def test_reloads_that_are_asked_for_during_one_follow_it(start: Start) -> None:
    toy = begin(start)
    configure(toy, "second")
    toy.wait_for_event("second")
    configure(toy, "third")
    toy.wait_for_log("reloaded", options="--toy third")
    eventually(lambda: have(toy, "third"), "two senders of the third configuration")


def test_nothing_is_replaced_if_nothing_has_changed(start: Start) -> None:
    toy = begin(start)
    before = senders(toy)
    configure(toy, "same")
    toy.wait_for_log("nothing has changed")
    assert senders(toy) == before


@pytest.mark.parametrize("text", ["unknown", "blocks", "dies", "raises"])
def test_a_configuration_that_cannot_be_used_leaves_everything_as_it_was(start: Start, text: str) -> None:
    toy = begin(start)
    before = senders(toy)
    configure(toy, text)
    line = toy.wait_for_log("cannot reload, the old configuration stays in force")
    assert line["reason"]
    assert line["advice"]
    assert senders(toy) == before
    configure(toy, "second")
    toy.wait_for_log("reloaded")
    eventually(lambda: have(toy, "second"), "a good configuration after the bad one")


@pytest.mark.parametrize("text", ["never-ready", "cannot-start"])
def test_if_a_new_sender_does_not_become_ready_all_keep_the_old_configuration(start: Start, text: str) -> None:
    toy = begin(start)
    before = senders(toy)
    configure(toy, text)
    toy.wait_for_log("cannot reload, the old configuration stays in force")
    toy.wait_for_log("all workers have the old configuration")
    assert senders(toy) == before
    # A sender that dies now is replaced by one of the old configuration.
    victim = next(iter(before))
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: is_gone(victim) and have(toy, "first"), "the dead sender is replaced by one of before")


def test_without_room_a_new_sender_that_is_not_ready_makes_way_for_one_of_the_old_configuration(start: Start) -> None:
    toy = begin(start, "reload", 30.0, 2.0)
    fill_all_slots(toy)
    configure(toy, "never-ready")
    toy.wait_for_log("all workers have the old configuration")
    eventually(lambda: have(toy, "first", 4), "four senders of the old configuration")


def test_scaling_during_a_reload_counts(start: Start) -> None:
    toy = begin(start)
    configure(toy, "second")
    toy.wait_for_log("reloading")
    toy.send_signal(signal.SIGTTIN)
    toy.wait_for_log("reloaded")
    eventually(lambda: have(toy, "second", 3), "three senders of the second configuration")
    toy.send_signal(signal.SIGTTOU)
    eventually(lambda: have(toy, "second", 2), "two senders of the second configuration")


def test_a_program_without_a_file_says_that_there_is_nothing_to_reload(start: Start) -> None:
    toy = begin(start, "idle")
    toy.send_signal(signal.SIGHUP)
    assert "--config" in str(toy.wait_for_log("nothing to reload")["reason"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_a_reload_is_an_ordinary_drain(start: Start, number: signal.Signals) -> None:
    toy = begin(start)
    configure(toy, "never-ready")
    toy.wait_for_log("reloading")
    assert toy.stop(number) == 0
    assert all(map(is_gone, toy.pids()))


def test_workers_notice_the_death_of_the_supervisor_while_a_child_reads(start: Start) -> None:
    toy = begin(start)
    configure(toy, "blocks")
    reader = toy.directory / "reader"
    eventually(reader.exists, "the child reads")
    toy.send_signal(signal.SIGKILL)
    eventually(lambda: all(map(is_gone, toy.pids())), "the workers are gone")
    assert not is_gone(int(reader.read_text()))
    eventually(lambda: is_gone(int(reader.read_text())), "the child ends by itself")


def test_a_reader_whose_answer_nobody_awaits_any_more_ends_and_cleans_up_nothing(start: Start) -> None:
    toy = begin(start)
    configure(toy, "waits")
    reader = toy.directory / "reader"
    eventually(lambda: reader.exists() and reader.read_text(), "the child reads")
    assert toy.stop() == 0
    (toy.directory / "go").touch()
    eventually(lambda: is_gone(int(reader.read_text())), "the child ends")
    assert "Traceback" not in toy.log.read_text()


def test_a_sender_stays_while_those_that_leave_hold_all_other_slots(start: Start) -> None:
    toy = begin(start, "reload-slow", 30.0, 4.0)
    for n in (3, 4):
        toy.send_signal(signal.SIGTTIN)
        toy.wait_for_log("worker added", workers=n)
    for count in (3, 2, 1):
        toy.send_signal(signal.SIGTTOU)
        toy.wait_for_log("worker leaves", workers=count)
    configure(toy, "second")
    toy.wait_for_log("reloaded")
    assert not toy.logged("worker leaves", workers=0), "for a moment there was no sender"


def test_senders_that_keep_dying_get_the_new_configuration_at_once(start: Start) -> None:
    toy = start("reload-dying")
    toy.wait_for_log("ready")
    # Their back-off is then longer than a reload waits for a worker to become ready.
    eventually(lambda: [line for line in toy.logged("worker died") if line["restart_in"] >= 4], "a long back-off")
    configure(toy, "second")
    toy.wait_for_log("reloaded")
    eventually(lambda: have(toy, "second"), "two senders of the second configuration")


def test_an_answer_that_was_cut_off_is_none(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def work() -> bytes:
        pid.write_text(str(os.getpid()))
        return b"x" * 1_000_000  # more than a pipe holds

    child = PolledChild(work, 60.0, "the work", lambda: None)
    eventually(lambda: pid.exists() and pid.read_text(), "the child works")
    assert child.poll() is None
    os.kill(int(pid.read_text()), signal.SIGKILL)
    os.waitpid(int(pid.read_text()), 0)
    with pytest.raises(CannotStart, match="the work ended without a result"):
        child.poll()


def test_senders_killed_during_a_reload_leave_two_of_the_new_configuration(start: Start, tmp_path: Path) -> None:
    toy = begin(start)
    dice = random.Random(7)
    configure(toy, "second")
    for _ in range(6):
        live = senders(toy)
        if live:
            os.kill(dice.choice(sorted(live)), signal.SIGKILL)
        toy.wait_for_log("reloading")
    toy.wait_for_log("reloaded")
    eventually(lambda: have(toy, "second"), "two senders of the second configuration")
    assert toy.stop() == 0
