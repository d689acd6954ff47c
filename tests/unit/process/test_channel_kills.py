"""What a SIGKILL at any instant does to those who share a channel: nothing."""

from __future__ import annotations

import multiprocessing
import os
import random
import select
import signal
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest

from courier.process.channel import INLINE_LIMIT, Channel
from tests.unit.process.waiting import DEADLINE, ended, eventually, forked, open_descriptors


@pytest.fixture
def children() -> Iterator[Callable[[Callable[[], object]], int]]:
    """Fork children that are killed at the end, whatever became of the test."""
    pids: list[int] = []

    def fork(work: Callable[[], object]) -> int:
        pids.append(forked(work))
        return pids[-1]

    yield fork
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def sleeps(pid: int) -> bool:
    """Whether a process is asleep in the kernel."""
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    assert ended(pid) == -signal.SIGKILL


def test_sigkill_of_the_reader_that_sits_in_get_starves_the_standard_queue() -> None:
    """Why channels exist. Should this fail one day, CPython has mended its queue and they may be reconsidered."""
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[int] = context.Queue()
    results: multiprocessing.SimpleQueue[int] = context.SimpleQueue()

    def reader() -> None:
        results.put(queue.get())

    first = context.Process(target=reader)
    first.start()
    lock = queue._rlock  # type: ignore[attr-defined]

    def held() -> bool:
        if lock.acquire(block=False):
            lock.release()
            return False
        return True

    eventually(held, "the first reader sits in get()")
    others = [context.Process(target=reader) for _ in range(3)]
    for other in others:
        other.start()
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join(DEADLINE)
    try:
        for n in range(3):
            queue.put(n)
        eventually(lambda: not queue.empty(), "the items are there to be taken")
        # Nobody alive holds the lock, and nobody can have it: the three are starved for good.
        assert not lock.acquire(timeout=0.5)
        assert results.empty()
        assert all(other.is_alive() for other in others)
    finally:
        for other in others:
            other.kill()
            other.join(DEADLINE)
        queue.cancel_join_thread()
        queue.close()


def test_sigkill_of_an_idle_reader_starves_nobody(children: Callable[[Callable[[], object]], int]) -> None:
    channel = Channel.create("work")
    results = Channel.create("results")

    def reader() -> None:
        while True:
            select.select([channel.reader_fileno()], [], [])
            packet = channel.receive()
            if packet is not None:
                results.send(packet[0])
                return

    pids = [children(reader) for _ in range(4)]
    for pid in pids:
        eventually(lambda pid=pid: sleeps(pid), "the reader is idle")  # type: ignore[misc]
    kill(pids[0])
    for n in range(3):
        assert channel.send(b"%d" % n)
    packets = [eventually(results.receive, "every packet is taken by the others") for _ in range(3)]
    assert sorted(packets) == [(b"0", b""), (b"1", b""), (b"2", b"")]
    channel.close()
    results.close()


def bulk_of(writer: int, number: int) -> bytes:
    length = INLINE_LIMIT + 1 + number if number % 4 == 0 else number % 900
    return (b"%d/%d " % (writer, number)) * (length // 8 + 1)


def test_sigkill_of_writers_on_a_full_channel_stalls_nobody_and_tears_nothing(
    children: Callable[[Callable[[], object]], int],
) -> None:
    channel = Channel.create("work")
    before = open_descriptors()

    def writer(name: int, last: int | None) -> None:
        channel.keep(reading=False, writing=True)
        number = 0
        while number != last:
            bulk = bulk_of(name, number)
            if channel.send(b"%d %d %d" % (name, number, zlib.crc32(bulk)), bulk):
                number += 1
            else:
                select.select([], [channel.writer_fileno()], [], 0.005)

    dice = random.Random(7)
    victims = {name: children(lambda name=name: writer(name, None)) for name in range(3)}  # type: ignore[misc]
    survivor = 1000
    children(lambda: writer(survivor, 400))
    seen: dict[int, int] = defaultdict(int)
    kills = 0
    end = time.monotonic() + DEADLINE
    while seen[survivor] < 400 or kills < 40:
        assert time.monotonic() < end, "a writer or the reader stalled"
        packet = channel.receive()
        if packet is None:
            select.select([channel.reader_fileno()], [], [], 1)
            continue
        name, number, checksum = map(int, packet[0].split())
        assert packet[1] is not None
        assert zlib.crc32(packet[1]) == checksum
        assert seen[name] == number, "a packet is missing, doubled or out of order"
        seen[name] += 1
        if kills < 40 and dice.random() < 0.05:
            kills += 1
            victim = dice.choice(list(victims))
            kill(victims.pop(victim))
            fresh = 10 + kills
            victims[fresh] = children(lambda fresh=fresh: writer(fresh, None))  # type: ignore[misc]
    for pid in victims.values():
        kill(pid)
    channel.keep(reading=True, writing=False)
    eventually(lambda: channel.receive() is None and channel.at_eof, "the channel ends with its writers")
    assert open_descriptors() == before - 1
    channel.close()


def test_sigkill_of_readers_costs_at_most_what_each_of_them_held(
    children: Callable[[Callable[[], object]], int],
) -> None:
    channel = Channel.create("work")
    results = Channel.create("results")
    before = open_descriptors()

    def reader() -> None:
        channel.keep(reading=True, writing=False)
        while True:
            packet = channel.receive()
            if packet is None:
                select.select([channel.reader_fileno()], [], [], 1)
                continue
            assert packet[1] is not None
            assert packet[1] == bulk_of(0, int(packet[0]))
            while not results.send(packet[0]):
                select.select([], [results.writer_fileno()], [], 0.005)

    dice = random.Random(11)
    pids = [children(reader) for _ in range(4)]
    taken: list[int] = []
    sent = kills = 0
    end = time.monotonic() + DEADLINE
    while kills < 30 or channel.unread_bytes():
        assert time.monotonic() < end, "the writer or the readers stalled"
        if kills < 30 and channel.send(b"%d" % sent, bulk_of(0, sent)):
            sent += 1
        if kills < 30 and dice.random() < 0.02:
            kills += 1
            kill(pids.pop(dice.randrange(4)))
            pids.append(children(reader))
        while (packet := results.receive()) is not None:
            taken.append(int(packet[0]))
    for pid in pids:
        eventually(lambda pid=pid: sleeps(pid), "the reader has nothing left to do")  # type: ignore[misc]
    while (packet := results.receive()) is not None:
        taken.append(int(packet[0]))
    assert len(taken) == len(set(taken))
    assert len(taken) >= sent - kills
    assert open_descriptors() == before
    channel.close()
    results.close()
