"""Packets that wait for a process are counted, whatever the process does, and whoever reads them next."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.faults.packets import UnreadPackets
from scripts.faults.process_tree import alive, kill, state
from tests.process.world import until


@contextmanager
def reading(*readers: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that holds these ends, and reads nothing."""
    process = subprocess.Popen(["sleep", "600"], pass_fds=[each.fileno() for each in readers])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def pair(kind: socket.SocketKind = socket.SOCK_SEQPACKET) -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, kind)


def test_what_waits_is_counted_even_for_a_stopped_process() -> None:
    writer, reader = pair()
    with writer, reader, reading(reader) as process:
        unread = UnreadPackets(lambda: [process.pid])
        assert unread.count() == 0
        writer.send(b"x" * 100)
        writer.send(b"x" * 50)
        assert unread.count() == 150
        kill(process.pid, signal.SIGSTOP)
        until(lambda: state(process.pid) == "T")
        assert unread.count() == 150
        assert reader.recv(1000) == b"x" * 100
        assert unread.count() == 50


def test_only_packets_count_and_not_what_a_stream_or_a_listener_holds() -> None:
    writer, reader = pair(socket.SOCK_STREAM)
    listener = socket.create_server(("127.0.0.1", 0))
    with writer, reader, listener, reading(reader, listener) as process:
        writer.send(b"x")
        assert UnreadPackets(lambda: [process.pid]).count() == 0


def test_a_channel_outlives_its_reader_and_the_next_program_has_another() -> None:
    (writer, reader), (next_writer, next_reader) = pair(), pair()
    readers: list[int] = []
    unread = UnreadPackets(lambda: [pid for pid in readers if alive(pid)])
    assert unread.count() == 0
    with writer, next_writer, next_reader:
        with reader, reading(reader) as process:
            readers.append(process.pid)
            writer.send(b"x" * 7)
            assert unread.count() == 7
            kill(process.pid, signal.SIGKILL)
            until(lambda: not alive(process.pid))
            assert unread.count() == 7
        until(lambda: unread.count() == 0)
        with reading(next_reader) as successor:
            readers.append(successor.pid)
            next_writer.send(b"x" * 3)
            assert unread.count() == 3
