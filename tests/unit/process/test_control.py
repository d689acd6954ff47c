"""The protocol and the socket of the control socket, in one process; tests/process/test_control.py has the program."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier.control_client import Unreachable, ask, find_socket
from courier.process.control import MOST_CLIENTS, PATIENCE_SECONDS, Control, Refusal
from courier.process.control_protocol import (
    LENGTH_BYTES,
    LONGEST_REQUEST,
    Fields,
    missing_bytes,
    packed,
    refusal,
    unpacked,
)
from courier.process.control_socket import ControlSocket, SocketInUse, Unavailable
from courier.process.peer import Peer, user_name

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def no_signal() -> Iterator[None]:
    """A socket wakes its process by SIGIO, which would end this one."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGIO, before)


@pytest.fixture
def path() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="courier-"))
    yield directory / "control.sock"
    shutil.rmtree(directory)


@given(fields=st.dictionaries(st.text("abc"), JSON, max_size=4), split=st.integers(0, 300))
def test_what_is_packed_is_unpacked_however_it_arrives(fields: dict[str, Any], split: int) -> None:
    sent = packed(fields)
    received = bytearray(sent[:split])
    while missing := missing_bytes(received, 1 << 20):
        assert len(received) + missing <= len(sent)
        received += sent[len(received) : len(received) + missing]
    assert received[: len(sent)] == sent
    assert unpacked(received) == fields


@settings(deadline=None)
@given(data=st.binary(max_size=64))
def test_garbage_is_an_error_of_one_line_or_waits_for_more(data: bytes) -> None:
    line = ""
    try:
        if missing_bytes(data, LONGEST_REQUEST) == 0:
            assert isinstance(unpacked(data), dict)
    except ValueError as error:
        line = str(error)
    assert line.isprintable()
    assert packed(refusal(line))


def test_no_more_than_the_longest_request_is_waited_for() -> None:
    assert missing_bytes(LONGEST_REQUEST.to_bytes(4, "big"), LONGEST_REQUEST) == LONGEST_REQUEST
    with pytest.raises(ValueError, match="too many"):
        missing_bytes((LONGEST_REQUEST + 1).to_bytes(4, "big"), LONGEST_REQUEST)


def test_a_users_name_comes_from_the_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "passwd"
    file.write_bytes(b"root:x:0:0::/root:/bin/sh\n# 7\nodd\n\xff:x:5:5:::\nmany:x:07:1:::\nhidden\x1b:x:8:8:::\n")
    assert [user_name(uid, str(file)) for uid in (0, 7, 8, 1)] == ["root", "", "", ""]
    assert user_name(0, str(tmp_path / "none")) == ""
    assert str(Peer(5, 4_000_000_000, 1)) == "uid 4000000000, pid 5"


def echo(fields: Fields, peer: Peer) -> dict[str, Any]:
    return {"text": "done", "got": dict(fields), "pid": peer.pid}


def refuse(_: Fields, _peer: Peer) -> dict[str, Any]:
    raise Refusal("not today")


def crash(_: Fields, _peer: Peer) -> dict[str, Any]:
    raise KeyError("a bug")


def unpackable(_: Fields, _peer: Peer) -> dict[str, Any]:
    return {"x": object()}


class Program:
    """A control socket whose turns a thread makes, on a clock that the test moves."""

    def __init__(self, path: Path) -> None:
        self.now = 1000.0
        acts = {"echo": echo, "refuse": refuse, "crash": crash, "unpackable": unpackable, "status": echo}
        self.control = Control(path, acts)
        self.control.open(self.now)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._turns)
        self.thread.start()

    def _turns(self) -> None:
        while not self.stop.wait(0.001):
            self.control.step(self.now)

    def close(self) -> None:
        self.stop.set()
        self.thread.join()
        self.control.close()


@contextmanager
def program(path: Path) -> Iterator[Program]:
    running = Program(path)
    try:
        yield running
    finally:
        running.close()


def test_an_act_gets_its_fields_and_who_asks_and_is_logged(path: Path) -> None:
    with capture_logs() as logs, program(path):
        answer = ask(path, {"act": "echo", "a": [1, None], "pid": 1})
        assert answer == {"ok": True, "text": "done", "got": {"a": [1, None], "pid": 1}, "pid": os.getpid()}
        assert ask(path, {"act": "refuse"}) == {"ok": False, "error": "not today"}
        assert ask(path, {"act": "status"})["ok"] is True
    acts = [(line["act"], line["done"]) for line in logs if line["event"] == "control act"]
    assert acts == [("echo", True), ("refuse", False)]
    assert all(f"pid {os.getpid()}" in line["by"] for line in logs if line["event"] == "control act")


@pytest.mark.parametrize("act", ["crash", "unpackable"])
def test_a_bug_in_an_act_is_logged_and_survived(path: Path, act: str) -> None:
    with capture_logs() as logs, program(path):
        assert ask(path, {"act": act})["error"] == "a bug in Courier; its log has the traceback"
        assert ask(path, {"act": "echo"})["ok"] is True
    assert [line["act"] for line in logs if line["log_level"] == "error"] == [act]


@pytest.mark.parametrize("request_fields", [{}, {"act": None}, {"act": ["echo"]}, {"act": "toString"}, {"Act": "echo"}])
def test_what_is_no_act_is_refused_with_the_list(path: Path, request_fields: dict[str, Any]) -> None:
    with program(path):
        assert ask(path, request_fields)["error"].startswith("there is no such act; the acts are crash, echo, ")


def test_a_slow_client_is_given_up_and_the_oldest_gives_way_to_one_more(path: Path) -> None:
    with program(path) as running:
        slow = [connected(path) for _ in range(MOST_CLIENTS)]
        for client in slow:
            client.sendall(packed({"act": "echo"})[:-1])
        assert ask(path, {"act": "echo"})["ok"] is True
        # One that is served at once takes nobody's place for long; one more that is slow takes that of the oldest.
        more = connected(path)
        assert slow[0].recv(1) == b""
        running.now += PATIENCE_SECONDS
        for client in (*slow[1:], more):
            assert b"no whole request within 2 seconds" in client.recv(4096)
            assert client.recv(1) == b""
            client.close()
        assert len(running.control.filenos()) == 1


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(str(path))
    return client


@settings(deadline=None, max_examples=40)
@given(parts=st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=12))
def test_whatever_clients_send_and_leave_the_next_one_is_served(parts: list[tuple[bytes, bool]]) -> None:
    directory = Path(tempfile.mkdtemp(prefix="courier-"))
    path = directory / "s"
    try:
        control = Control(path, {"echo": echo})
        control.open(0.0)
        clients = []
        for data, stays in parts:
            client = connected(path)
            client.sendall(data)
            if stays:
                clients.append(client)
            else:
                client.close()
            control.step(1.0)
            assert len(control.filenos()) <= MOST_CLIENTS + 1
        honest = connected(path)
        honest.sendall(packed({"act": "echo"}))
        control.step(1.0)
        assert json.loads(honest.recv(4096)[LENGTH_BYTES:])["ok"] is True
        control.step(1.0 + PATIENCE_SECONDS)
        assert len(control.filenos()) == 1
        for client in (*clients, honest):
            client.close()
        control.close()
        assert not path.exists()
    finally:
        shutil.rmtree(directory)


def test_of_two_that_find_a_dead_socket_one_replaces_it(path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    first = ControlSocket(path)
    with pytest.raises(SocketInUse):
        ControlSocket(path)
    first.close()
    assert not path.exists()


def test_many_that_start_at_once_on_a_dead_socket_end_up_with_one_owner(path: Path) -> None:
    for _ in range(20):
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(str(path))
        dead.close()
        owners: list[ControlSocket] = []
        others: list[str] = []

        def take(owners: list[ControlSocket] = owners, others: list[str] = others) -> None:
            try:
                owners.append(ControlSocket(path))
            except SocketInUse:
                others.append("in use")

        threads = [threading.Thread(target=take) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(owners), len(others)) == (1, 5)
        connected(path).close()
        owners[0].close()


def test_a_socket_that_is_no_longer_this_ones_is_left_alone(path: Path) -> None:
    mine = ControlSocket(path)
    path.unlink()
    other = ControlSocket(path)
    mine.close()
    connected(path).close()
    other.close()


@pytest.mark.parametrize("make", [lambda p: p.write_text("x"), lambda p: p.mkdir(), lambda p: p.symlink_to("/nowhere")])
def test_what_is_no_socket_is_left_alone(path: Path, make: Callable[[Path], object]) -> None:
    make(path)
    with pytest.raises(Unavailable, match="not a socket"):
        ControlSocket(path)
    assert os.path.lexists(path)


def test_one_that_waits_for_a_socket_takes_it_when_it_is_free(path: Path) -> None:
    first, second = Control(path, {"echo": echo}), Control(path, {"echo": refuse})
    with capture_logs() as logs:
        first.open(0.0)
        second.open(0.0)
        for now in range(1, 10):
            second.step(float(now))
        first.close()
        second.step(20.0)
    assert [line["event"] for line in logs] == [
        "control socket listening",
        "no control socket yet",
        "control socket listening",
    ]
    assert second.filenos()
    second.close()


def test_without_a_path_nothing_is_done() -> None:
    control = Control(None, {"echo": echo})
    control.open(0.0)
    control.step(1.0)
    assert control.filenos() == ()
    control.close()


def test_who_does_not_answer_is_unreachable_with_a_line_that_says_why(path: Path) -> None:
    with pytest.raises(Unreachable, match="no Courier listens"):
        ask(path, {"act": "echo"})
    path.write_text("no socket")
    with pytest.raises(Unreachable, match="no Courier listens"):
        ask(path, {"act": "echo"})
    with pytest.raises(Unreachable, match="path too long"):
        ask(Path("/" + "x" * 200), {"act": "echo"})
    path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(0)
    with pytest.raises(Unreachable, match="gave no answer within"):
        ask(path, {"act": "echo"}, 0.1)
    # The one before, of which nobody has heard yet, fills its backlog.
    with pytest.raises(Unreachable, match="gave no answer within"):
        ask(path, {"act": "echo"}, 0.1)
    listener.close()


@pytest.mark.parametrize("said", [b"", b"\x00", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x00\x01x"])
def test_an_answer_of_somebody_else_is_no_answer(path: Path, said: bytes) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def answer() -> None:
        connection, _ = listener.accept()
        connection.sendall(said)
        connection.recv(4096)
        connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(Unreachable, match="is that Courier's control socket"):
        ask(path, {"act": "echo"})
    thread.join()
    listener.close()


def test_the_socket_is_looked_for_where_it_was_given_then_where_systemd_and_the_service_have_it() -> None:
    given_path, directory = Path("/given"), Path("/run/mine")
    assert find_socket(given_path, directory) == given_path
    assert find_socket(None, directory) == Path("/run/mine/control.sock")
    with pytest.raises(Unreachable, match=r"there is no control socket at /run/courier/control\.sock"):
        find_socket(None, None)
