"""The control socket of ``python -m courier``: what is asked there is done under load, and nobody there can harm it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from courier.audit.segment import segments
from courier.control_client import Unreachable, ask
from courier.local.exchange import Response
from courier.process.control import MOST_CLIENTS, PATIENCE_SECONDS
from courier.process.control_protocol import packed
from courier.process.control_socket import LONGEST_PATH
from tests.process.conftest import Start
from tests.process.steered import Steered
from tests.process.test_api import ANY_PORT, Api
from tests.process.test_notify import ServiceManager, manager
from tests.process.world import OK, Courier, Queue, Recipient, after, alive, bodies, children, kill, missing, until

__all__ = ["manager"]

GRACE_SECONDS = 2.0
"""How long a pause leaves open polls alone."""


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A short directory: a socket's path has few bytes."""
    directory = Path(tempfile.mkdtemp(prefix="courier-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def steered(runtime: Path) -> Steered:
    """The control socket of the run that is started with ``COURIER_CONTROL=str(steered.path)``."""
    return Steered(runtime / "made" / "control.sock")


def steer(start: Start, queue: Queue, steered: Steered, *options: str, **environ: str) -> Courier:
    return start(queue, *options, COURIER_CONTROL=str(steered.path), **environ)


def waits(queue: Queue) -> int:
    return queue.counts()[0]


def nothing_under_way(queue: Queue) -> bool:
    return queue.counts()[1] == 0


def pass_time(seconds: float) -> None:
    over = time.monotonic() + seconds
    until(lambda: time.monotonic() > over, seconds + 10, every=0.05)


def settled(queue: Queue, recipient: Recipient, courier: Courier, sent: list[str], receives: int = 1) -> None:
    """See that all was delivered once, within so many receives, recorded and deleted; the program ends well."""
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert max(delivery.receive_count for delivery in recipient.deliveries) <= receives
    assert courier.drain() == 0
    assert courier.recorded() == dict.fromkeys(sent, 1)


def test_a_pause_under_load_ends_what_is_under_way_receives_nothing_and_loses_nothing(
    queue: Queue, recipient: Recipient, start: Start, steered: Steered, manager: ServiceManager
) -> None:
    recipient.behave = after(0.05)
    sent = queue.send(bodies(2000))
    courier = steer(start, queue, steered, "--senders", "2", "--concurrency", "8", NOTIFY_SOCKET=manager.name)
    until(lambda: len(recipient.accepted) > 100, explain=courier.log)
    assert steered.done("pause", reason="the  recipient\ndeploys")["text"].startswith("receiving is paused")
    # Well within the leases: what is under way ends by being delivered, not by lapsing.
    pass_time(GRACE_SECONDS + 1.0)
    until(lambda: nothing_under_way(queue), 20, courier.log)
    left = waits(queue)
    assert 0 < left < 2000
    assert len(recipient.accepted) == 2000 - left
    pass_time(2.0)
    assert queue.counts() == (left, 0)
    by = (
        f'by="root \\(uid 0, pid {os.getpid()}\\)"'
        if os.getuid() == 0
        else f'by=".*uid {os.getuid()}, pid {os.getpid()}\\)?"'
    )
    assert re.search(rf'event="receiving paused" {by} reason="the recipient deploys"', courier.log())
    status = steered.done("status")
    assert (status["state"], status["reasons"]) == ("ready", [])
    assert status["pause"]["reason"] == "the recipient deploys"
    assert f"pid {os.getpid()}" in status["pause"]["by"]
    assert status["pause"]["seconds"] > GRACE_SECONDS
    until(lambda: any(re.match("STATUS=paused by .*the recipient deploys; ", line) for line in manager.lines()))
    assert "again, after a pause" in steered.done("resume")["text"]
    assert steered.done("status")["pause"] is None
    until(lambda: manager.lines()[-1].startswith("STATUS=running: "), explain=manager.lines)
    settled(queue, recipient, courier, sent)
    assert re.search(rf'event="receiving resumed" {by}', courier.log())


@pytest.mark.parametrize("fifo", [False, True])
def test_a_pause_closes_the_open_long_poll_of_an_idle_queue_and_what_comes_later_waits(
    virtual_queue: str, recipient: Recipient, start: Start, steered: Steered, fifo: bool
) -> None:
    queue = Queue(virtual_queue, fifo=fifo)
    courier = steer(start, queue, steered)
    first = queue.send(["before"], ["g"] if fifo else None)
    until(lambda: queue.counts() == (0, 0) and recipient.accepted, explain=courier.log)
    steered.done("pause")
    pass_time(GRACE_SECONDS + 1.0)
    sent = first + queue.send(["in the pause"], ["g"] if fifo else None)
    pass_time(1.5)
    assert queue.counts() == (1, 0)
    steered.done("resume")
    settled(queue, recipient, courier, sent)


def test_a_pause_outlives_every_worker(queue: Queue, recipient: Recipient, start: Start, steered: Steered) -> None:
    courier = steer(start, queue, steered, "--consumers", "3", "--api", ANY_PORT)
    steered.done("pause", reason="deploying")
    pass_time(GRACE_SECONDS + 0.5)
    sent = queue.send(bodies(50))
    before = set(children(courier.pid))
    for pid in before:
        kill(pid, signal.SIGKILL)
    until(
        lambda: len(children(courier.pid)) == len(before) and not before & set(children(courier.pid)), 40, courier.log
    )
    until(lambda: steered.done("status")["reasons"] == [], 40, lambda: steered.done("status"))
    pass_time(2.0)
    assert queue.counts() == (50, 0)
    assert steered.done("status")["pause"]["reason"] == "deploying"
    steered.done("resume")
    settled(queue, recipient, courier, sent)


def test_a_drain_is_not_hindered_by_a_pause_and_a_restart_begins_without_it(
    queue: Queue, recipient: Recipient, start: Start, steered: Steered
) -> None:
    recipient.behave = after(0.3)
    sent = queue.send(bodies(400))
    courier = steer(start, queue, steered)
    until(lambda: len(recipient.accepted) > 10, explain=courier.log)
    steered.done("pause")
    steered.done("drain")
    assert steered.done("drain")["text"] == "draining already"
    assert "Courier is stopping" in steered.refused("pause")
    assert "Courier is stopping" in steered.refused("scale", senders=2)
    assert courier.wait(60) == 0
    assert not steered.path.exists()
    recipient.behave = lambda d: OK
    courier = steer(start, queue, steered)
    assert steered.done("status")["pause"] is None
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert not missing(sent, recipient.accepted)
    assert not recipient.duplicates()
    assert courier.drain() == 0


def test_in_an_outage_a_paused_program_probes_with_what_it_has_and_resumes_by_itself(
    queue: Queue, recipient: Recipient, start: Start, steered: Steered
) -> None:
    courier = steer(start, queue, steered, "--breaker-threshold", "3", "--visibility-timeout", "10")
    sent = queue.send(bodies(30))
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    recipient.behave = lambda d: Response(503)
    sent += queue.send(bodies(30))
    until(lambda: "circuit breaker open" in courier.log(), explain=courier.log)
    steered.done("pause")
    pass_time(GRACE_SECONDS + 1.0)
    left = waits(queue)
    recipient.behave = lambda d: OK
    until(lambda: "circuit breaker closed" in courier.log(), 30, courier.log)
    until(lambda: nothing_under_way(queue), 30, courier.log)
    assert waits(queue) == left
    steered.done("resume")
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert courier.drain() == 0


def test_a_probe_cuts_the_cool_down_short(queue: Queue, recipient: Recipient, start: Start, steered: Steered) -> None:
    courier = steer(
        start,
        *(
            queue,
            steered,
            "--breaker-threshold",
            "3",
            "--breaker-cool-down",
            "600",
            "--breaker-longest-cool-down",
            "600",
        ),
    )
    assert "is not open" in steered.done("probe")["text"]
    sent = queue.send(["while all is well"])
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    recipient.behave = lambda d: Response(503)
    sent += queue.send(bodies(20))
    until(lambda: "circuit breaker open" in courier.log(), explain=courier.log)
    # A probe that fails leaves it open for as long again, and the next one is cut short too.
    seen = len(recipient.deliveries)
    steered.done("probe")
    until(lambda: "circuit breaker still open" in courier.log(), 20, courier.log)
    assert len(recipient.deliveries) > seen
    recipient.behave = lambda d: OK
    steered.done("probe")
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert courier.drain() == 0


@pytest.mark.parametrize(
    ("steps", "receives"),
    [
        # A sender that leaves returns what waits in its packet, which costs that a receive; a consumer returns nothing.
        ([(1, 1), (5, 4), (2, 1), (3, 10), (1, 1), (4, 2)], 4),
        ([(3, 1), (3, 10), (3, 1), (3, 3), (3, 1)], 1),
    ],
    ids=["both", "consumers"],
)
def test_scaling_down_to_one_and_up_again_under_load_loses_and_repeats_nothing(
    queue: Queue, recipient: Recipient, start: Start, steered: Steered, steps: list[tuple[int, int]], receives: int
) -> None:
    recipient.behave = after(0.02)
    sent = queue.send(bodies(3000))
    courier = steer(start, queue, steered, "--senders", "3", "--consumers", "2")
    for senders, consumers in steps:
        done = len(recipient.accepted)
        answer = steered.done("scale", senders=senders, consumers=consumers)
        assert (answer["senders"], answer["consumers"]) == (senders, consumers)
        until(lambda wanted=(senders, consumers): running(courier) == wanted, 40, courier.log)  # type: ignore[misc]
        enough = min(done + 100, 2900)
        until(lambda enough=enough: len(recipient.accepted) > enough, 40, courier.log)  # type: ignore[misc]
    settled(queue, recipient, courier, sent, receives)
    assert "worker died" not in courier.log()


def running(courier: Courier) -> tuple[int, int]:
    return len(courier.pids("sender")), len(courier.pids("consumer"))


def test_the_api_shows_what_was_asked_for_and_by_whom(queue: Queue, start: Start, steered: Steered) -> None:
    courier = steer(start, queue, steered, "--senders", "2", COURIER_API=ANY_PORT)
    api = Api(courier)

    def shown(option: str) -> tuple[str, str]:
        settings = {each["option"]: each for each in json.loads(api.get("/status")[1])["configuration"]}
        return settings[option]["value"], settings[option]["source"]

    until(lambda: api.get("/status/ready")[0] == 200, explain=courier.log)
    assert (shown("senders"), shown("consumers")) == (("2", "--senders"), ("2", "default"))
    steered.done("scale", senders=3, consumers=1)
    assert (shown("senders"), shown("consumers")) == (("3", "set by scale"), ("1", "set by scale"))
    courier.signal(signal.SIGTTIN)
    until(lambda: shown("senders") == ("4", "set by scale"), explain=courier.log)
    steered.done("scale", senders=2, consumers=2)
    assert (shown("senders"), shown("consumers")) == (("2", "--senders"), ("2", "default"))
    steered.done("pause", reason="deploying")
    status, (code, ready) = json.loads(api.get("/status")[1]), api.ready()
    assert (code, ready["ready"], ready["pause"]["reason"]) == (200, True, "deploying")
    assert (status["state"], status["pause"]["reason"]) == ("ready", "deploying")
    assert status["control"]["socket"] == str(steered.path)
    assert api.metrics()["courier_receiving_paused"] == 1
    assert courier.drain() == 0


def test_what_is_out_of_bounds_is_refused_with_the_bounds(
    queue: Queue, recipient: Recipient, start: Start, steered: Steered
) -> None:
    courier = steer(start, queue, steered, "--senders", "1", "--consumers", "1")
    workers = children(courier.pid)
    assert "from 1 to 17" in steered.refused("scale", senders=18)
    assert "from 1 to 9" in steered.refused("scale", senders=2, consumers=10)
    for wrong in (0, -1, 1.5, "2", True, [2], 10**19):
        assert "whole number" in steered.refused("scale", senders=wrong)
    assert "give the number" in steered.refused("scale")
    assert "at most 200 characters" in steered.refused("pause", reason="x" * 201)
    assert "at most 200 characters" in steered.refused("pause", reason=["x"])
    assert "there is no such act; the acts are drain, kill, pause" in steered.refused("destroy")
    assert "supervisor" in steered.refused("kill", pid=courier.pid)
    assert "no worker of this Courier" in steered.refused("kill", pid=os.getpid())
    for pid in (None, 0, -1, True, "1", 1.0):
        assert "pid of a worker" in steered.refused("kill", pid=pid)
    # The longest reason fits on the board, whatever it consists of.
    for reason in ("\N{GRINNING FACE}" * 200, "\\" * 200, '"' * 200):
        steered.done("pause", reason=reason)
        assert steered.done("status")["pause"]["reason"] == reason
    assert children(courier.pid) == workers
    assert courier.drain() == 0


def test_a_worker_that_is_killed_is_replaced_and_only_what_it_held_comes_again(
    queue: Queue, recipient: Recipient, start: Start, steered: Steered
) -> None:
    recipient.behave = after(0.02)
    sent = queue.send(bodies(1500))
    courier = steer(start, queue, steered, "--concurrency", "4", "--visibility-timeout", "5")
    for killed, role in enumerate(("sender", "consumer", "auditor")):
        until(lambda k=killed: len(recipient.accepted) > 100 * k + 50, explain=courier.log)  # type: ignore[misc]
        pid = courier.pids(role)[0]
        assert f"killed {role}" in steered.done("kill", pid=pid)["text"]
        until(lambda p=pid, r=role: p not in courier.pids(r) and courier.pids(r), 20, courier.log)  # type: ignore[misc]
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert not missing(sent, recipient.accepted)
    assert courier.drain() == 0
    assert not missing(sent, courier.recorded())


def test_rotate_begins_a_new_audit_file(queue: Queue, recipient: Recipient, start: Start, steered: Steered) -> None:
    courier = steer(start, queue, steered)
    for text in ("in the first", "in the second"):
        queue.send([text])
        until(lambda: queue.counts() == (0, 0), explain=courier.log)
        steered.done("rotate")
    queue.send(["in the third"])
    until(lambda: len(segments(courier.audit)) == 3, explain=lambda: list(courier.audit.iterdir()))
    assert courier.drain() == 0


def test_hostile_clients_disturb_neither_the_program_nor_who_steers_it(
    queue: Queue, recipient: Recipient, start: Start, steered: Steered
) -> None:
    recipient.behave = after(0.01)
    courier = steer(start, queue, steered)
    workers = children(courier.pid)
    descriptors = len(os.listdir(f"/proc/{courier.pid}/fd"))
    whole = packed({"act": "pause", "reason": "never whole"})
    hostile: list[socket.socket] = []

    def connect() -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        client.connect(str(steered.path))
        hostile.append(client)
        return client

    sent = queue.send(bodies(500))
    # Those that say nothing, half a length, half a request, and one that reads nothing.
    for part in (b"", whole[:2], whole[:-1], b"", whole[:5], b"", b"", b"") * 12 + (b"",) * 4:
        connect().sendall(part)
        if len(hostile) % 25 == 0:
            assert steered.done("status")["state"] == "ready"
    for garbage in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x00\x00\x03nul",
        b"\x00\x00\x00\x02[]",
        b"\x00\x00\x00\x00",
        b"\xff" * 9,
    ):
        client = connect()
        client.sendall(garbage)
        assert b'"ok":false' in read_all(client)
    huge = connect()
    with contextlib.suppress(OSError):
        huge.sendall((1 << 20).to_bytes(4, "big") + b"x" * (1 << 20))
    assert b"1048576 bytes are too many" in read_all(huge)
    unread = connect()
    unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    unread.sendall(packed({"act": "status"}))
    assert steered.done("status")["pause"] is None
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    # All of them are closed by and by, though they themselves close nothing.
    until(lambda: len(os.listdir(f"/proc/{courier.pid}/fd")) == descriptors, PATIENCE_SECONDS + 20, courier.log)
    assert children(courier.pid) == workers
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert "bug" not in courier.log()
    assert courier.drain() == 0
    for client in hostile:
        client.close()


def read_all(client: socket.socket) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := client.recv(4096):
            answer += chunk
    return answer


def test_clients_cannot_take_more_descriptors_than_a_few(queue: Queue, start: Start, steered: Steered) -> None:
    courier = steer(start, queue, steered)
    before = len(os.listdir(f"/proc/{courier.pid}/fd"))
    clients = []
    for _ in range(60):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(steered.path))
        clients.append(client)
        assert len(os.listdir(f"/proc/{courier.pid}/fd")) <= before + MOST_CLIENTS + 1
    for client in clients:
        client.close()
    assert courier.drain() == 0


def test_a_worker_made_while_clients_are_connected_keeps_none_of_their_connections(
    queue: Queue, start: Start, steered: Steered
) -> None:
    courier = steer(start, queue, steered)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(str(steered.path))
    before = courier.pids("sender")
    steered.done("scale", senders=8)
    until(lambda: len(courier.pids("sender")) == 8, explain=courier.log)
    # The supervisor gives up, and the client sees the end at once: nobody else holds the connection.
    assert b"no whole request" in read_all(client)
    added = set(courier.pids("sender")) - set(before)
    listening = {inode for pid in [courier.pid] for inode in sockets(pid)} & named(steered.path)
    assert listening
    until(lambda: not any(sockets(pid) & listening for pid in added), explain=courier.log)
    assert courier.drain() == 0


def sockets(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if match := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry)):
                found.add(match[1])
    return found


def named(path: Path) -> set[str]:
    """Return the inodes of the sockets of a path: the listening one and those that it accepted."""
    return {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines() if line.endswith(f" {path}")}


def test_the_socket_is_made_for_its_group_and_removed_at_the_end(queue: Queue, start: Start, steered: Steered) -> None:
    courier = steer(start, queue, steered)
    assert stat.S_IMODE(steered.path.parent.stat().st_mode) == 0o750
    assert stat.S_IMODE(steered.path.stat().st_mode) == 0o660
    assert courier.drain() == 0
    assert list(steered.path.parent.iterdir()) == []


def test_systemds_directory_is_used_without_an_option_and_none_turns_the_socket_off(
    queue: Queue, start: Start, runtime: Path
) -> None:
    courier = start(queue, RUNTIME_DIRECTORY=f"{runtime}:/somewhere/else")
    assert ask(runtime / "control.sock", {"act": "status"})["state"] == "ready"
    assert courier.drain() == 0
    courier = start(queue, "--control", "none", RUNTIME_DIRECTORY=str(runtime))
    assert list(runtime.iterdir()) == []
    assert courier.drain() == 0


def test_the_socket_of_a_killed_courier_is_replaced_and_that_of_a_living_one_is_not_stolen(
    queue: Queue, start: Start, steered: Steered, tmp_path: Path
) -> None:
    first = steer(start, queue, steered)
    kill(first.pid, signal.SIGKILL)
    first.process.wait(20)
    assert steered.path.exists()
    second = steer(start, queue, steered)
    third = steer(start, queue, steered, "--audit-path", str(tmp_path / "other"))
    assert 'event="no control socket yet"' in third.log()
    assert third.log().count("no control socket") == 1
    steered.done("pause", reason="for the second alone")
    assert "receiving paused" in second.log()
    assert "receiving paused" not in third.log()
    assert second.drain() == 0
    # The third takes the socket by itself.
    until(lambda: "control socket listening" in third.log(), 30, third.log)
    assert steered.done("status")["pause"] is None
    assert third.drain() == 0


def test_a_path_where_no_socket_can_be_is_one_line_and_no_failure(
    queue: Queue, start: Start, runtime: Path, recipient: Recipient
) -> None:
    file = runtime / "file"
    file.write_text("not a socket")
    paths = {
        "longer than 107": runtime / ("x" * LONGEST_PATH),
        "File exists|Not a directory": file / "control.sock",
        "not a socket": file,
        # A file system on which nothing can be made, whoever asks.
        "No such file or directory|Permission denied|Operation not permitted": Path("/proc/1/control.sock"),
    }
    for reason, path in paths.items():
        courier = start(queue, "--control", str(path))
        (line,) = [line for line in courier.log().splitlines() if "control socket" in line]
        assert "level=info" in line
        assert re.search(reason, line), line
        sent = queue.send(["all the same"])
        until(lambda s=sent: s[0] in recipient.accepted and queue.counts() == (0, 0), explain=courier.log)  # type: ignore[misc]
        assert courier.drain() == 0
    assert file.read_text() == "not a socket"


def test_the_commands_say_what_they_did_and_exit_accordingly(queue: Queue, start: Start, steered: Steered) -> None:
    absent = steered.courier("resume")
    assert (absent.code, absent.out) == (3, "")
    assert (
        absent.error
        == f"courier: error: no Courier listens at {steered.path}; is it running, and with this --control?\n"
    )
    absent = steered.courier("resume", "-o", "json")
    assert absent.code == 3
    assert json.loads(absent.out)["ok"] is False
    courier = steer(start, queue, steered)
    assert steered.courier("pause", "--reason", "deploying") == (0, "receiving is paused; what is under way ends\n", "")
    said = steered.courier("resume", "--output", "json")
    assert said.code == 0
    assert json.loads(said.out)["text"].startswith("receiving again, after a pause of ")
    assert steered.courier("scale", "--senders", "2", "--consumers", "1") == (
        0,
        "consumers 2 to 1, senders 4 to 2\n",
        "",
    )
    refused = steered.courier("scale", "--senders", "99")
    assert (refused.code, refused.out) == (1, "")
    assert refused.error.startswith("courier: error: senders must be a whole number from 1 to 20; ")
    assert refused.error.count("\n") == 1
    refused = steered.courier("kill", str(courier.pid), "-o", "json")
    assert refused.code == 1
    assert json.loads(refused.out) == {
        "ok": False,
        "error": f"pid {courier.pid} is the supervisor's; `courier drain` ends it",
    }
    for wrong in (("scale",), ("scale", "--senders", "0"), ("kill", "x"), ("kill",), ("pause", "-o", "yaml")):
        said = steered.courier(*wrong)
        assert (said.code, said.out) == (2, "")
        assert said.error.startswith("courier: error: ")
    assert steered.courier("probe").code == 0
    assert steered.courier("rotate") == (0, "the next audit record begins a new file\n", "")
    assert steered.courier("drain").code == 0
    assert courier.wait(60) == 0


def test_a_supervisor_that_stands_still_is_unreachable_within_the_deadline(
    queue: Queue, start: Start, steered: Steered
) -> None:
    courier = steer(start, queue, steered)
    courier.signal(signal.SIGSTOP)
    try:
        with pytest.raises(Unreachable, match=r"gave no answer within 0\.3 seconds"):
            ask(steered.path, {"act": "resume"}, 0.3)
    finally:
        courier.signal(signal.SIGCONT)
    assert alive(courier.pid)
    assert steered.done("status")["ok"] is True
    assert courier.drain() == 0
