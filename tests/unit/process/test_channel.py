from __future__ import annotations

import asyncio
import os
import resource
import socket
import tempfile
import time
from collections.abc import Iterator

import pytest
import uvloop

from courier.errors import ChannelError
from courier.process import bulk as bulk_module
from courier.process.channel import INLINE_LIMIT, Channel
from tests.unit.process.waiting import ended, forked, open_descriptors

HEAD = b"head"
LARGE = b"b" * (INLINE_LIMIT + 1)


@pytest.fixture
def channel() -> Iterator[Channel]:
    channel = Channel.create("test")
    yield channel
    channel.close()


def fill(channel: Channel, bulk: bytes = b"") -> int:
    count = 0
    while channel.send(HEAD, bulk):
        count += 1
    return count


def limit_descriptors(spare: int) -> None:
    """Leave this process ``spare`` descriptors more than it has; only for a forked child."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + spare, hard))


@pytest.mark.parametrize("length", [0, 1, INLINE_LIMIT - len(HEAD), INLINE_LIMIT - len(HEAD) + 1, 1 << 20])
def test_a_packet_arrives_whole_whichever_way_its_bulk_travels(channel: Channel, length: int) -> None:
    bulk = os.urandom(length)
    assert channel.send(HEAD, bulk)
    assert channel.receive() == (HEAD, bulk)
    assert channel.receive() is None
    assert not channel.at_eof


def test_an_empty_packet_is_not_the_end_of_the_stream(channel: Channel) -> None:
    assert channel.send(b"")
    assert channel.receive() == (b"", b"")
    assert not channel.at_eof


def test_packets_come_out_in_the_order_in_which_they_went_in(channel: Channel) -> None:
    sent = [(b"%d" % n, LARGE if n % 3 == 0 else b"small") for n in range(30)]
    for head, bulk in sent:
        assert channel.send(head, bulk)
    assert [channel.receive() for _ in sent] == sent


def test_without_memfd_the_bulk_travels_in_an_unlinked_file(
    channel: Channel, monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    monkeypatch.setattr(bulk_module, "_CAN_MEMFD", False)
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(tmp_path))
    before = open_descriptors()
    assert channel.send(HEAD, LARGE)
    assert os.listdir(tmp_path) == []
    assert channel.receive() == (HEAD, LARGE)
    assert open_descriptors() == before


def test_a_full_channel_refuses_and_loses_nothing(channel: Channel) -> None:
    count = fill(channel, b"b" * 900)
    # What the smallest stock limit of the kernel leaves room for.
    assert count >= 185
    assert not channel.send(HEAD, LARGE)
    received = 0
    while channel.receive() is not None:
        received += 1
    assert received == count
    assert channel.send(HEAD)


def test_a_head_beyond_the_limit_is_a_bug_and_told(channel: Channel) -> None:
    with pytest.raises(ChannelError, match="a head of 65537 bytes"):
        channel.send(b"h" * (INLINE_LIMIT + 1))


def test_large_packets_leave_no_descriptor_behind_sent_or_refused() -> None:
    channel = Channel("small", *socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    for number in (channel.reader_fileno(), channel.writer_fileno()):
        os.set_blocking(number, False)
    before = open_descriptors()
    count = fill(channel, LARGE)
    assert not channel.send(HEAD, LARGE)
    assert open_descriptors() == before
    for _ in range(count):
        assert channel.receive() == (HEAD, LARGE)
    assert open_descriptors() == before
    channel.close()


def test_a_reader_without_descriptors_to_spare_gets_the_head_alone(channel: Channel) -> None:
    channel.send(HEAD, LARGE)
    channel.send(HEAD, b"small")

    def reader() -> None:
        limit_descriptors(0)
        assert channel.receive() == (HEAD, None)
        assert channel.receive() == (HEAD, b"small")

    assert ended(forked(reader)) == 0


def test_a_writer_without_descriptors_to_spare_finds_the_channel_full(channel: Channel) -> None:
    def writer() -> None:
        limit_descriptors(0)
        assert not channel.send(HEAD, LARGE)
        assert channel.out_of_descriptors == 1
        assert channel.send(HEAD, b"small")
        limit_descriptors(8)
        assert channel.send(HEAD, LARGE)

    assert ended(forked(writer)) == 0
    assert channel.receive() == (HEAD, b"small")
    assert channel.receive() == (HEAD, LARGE)


def test_too_many_descriptors_in_flight_is_full_until_some_are_taken(channel: Channel) -> None:
    def writer() -> None:
        if os.geteuid() == 0:
            os.setuid(65_534)  # the kernel doesn't count root's
        limit_descriptors(8)
        assert 0 < fill(channel, LARGE) < 100
        assert channel.out_of_descriptors == 1
        while channel.receive() is not None:
            pass
        assert channel.send(HEAD, LARGE)

    assert ended(forked(writer)) == 0


def test_the_end_comes_after_the_last_packet_once_every_writer_is_gone(channel: Channel) -> None:
    gate_reader, gate_writer = os.pipe()

    def writer() -> None:
        os.close(gate_writer)
        channel.keep(reading=False, writing=True)
        channel.send(HEAD, b"last")
        os.read(gate_reader, 1)

    pid = forked(writer)
    channel.keep(reading=True, writing=False)
    os.close(gate_reader)
    while (packet := channel.receive()) is None:
        assert not channel.at_eof
    assert packet == (HEAD, b"last")
    assert channel.receive() is None
    assert not channel.at_eof
    os.close(gate_writer)
    assert ended(pid) == 0
    assert channel.receive() is None
    assert channel.at_eof


def test_what_is_in_the_channel_outlives_its_writer_and_its_reader(channel: Channel) -> None:
    assert ended(forked(lambda: channel.send(HEAD, LARGE))) == 0
    assert ended(forked(lambda: channel.keep(reading=True, writing=False))) == 0
    assert channel.receive() == (HEAD, LARGE)


def test_a_channel_that_nobody_reads_is_full_and_waiting_for_it_does_not_spin(channel: Channel) -> None:
    channel.keep(reading=False, writing=True)

    async def attempts() -> int:
        deadline = time.monotonic() + 0.1
        count = 0
        while not channel.send(HEAD, b"bulk") and time.monotonic() < deadline:
            await channel.wait_writable(asyncio.get_running_loop(), deadline)
            count += 1
        return count

    assert 1 <= uvloop.run(attempts()) <= 40


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
def test_all_who_wait_for_a_full_channel_get_their_packet_in(channel: Channel, run: type) -> None:
    count = fill(channel, b"b" * 900)

    async def put(name: bytes) -> None:
        while not channel.send(name):
            await channel.wait_writable(asyncio.get_running_loop(), time.monotonic() + 60)

    async def take() -> list[bytes]:
        heads: list[bytes] = []
        while len(heads) < count + 3:
            packet = channel.receive()
            if packet is None:
                await asyncio.sleep(0)
            else:
                heads.append(packet[0])
        return heads

    async def ordeal() -> list[bytes]:
        writers = [asyncio.ensure_future(put(name)) for name in (b"one", b"two", b"three")]
        await asyncio.sleep(0)
        heads = await take()
        await asyncio.gather(*writers)
        return heads

    assert sorted(run(ordeal())[count:]) == [b"one", b"three", b"two"]


async def test_waiting_for_a_full_channel_ends_at_the_deadline(channel: Channel) -> None:
    fill(channel)

    loop = asyncio.get_running_loop()
    await channel.wait_writable(loop, time.monotonic() + 0.001)
    await channel.wait_writable(loop, time.monotonic() - 1)
    assert not channel.send(HEAD)


def test_unread_bytes_counts_all_packets_and_only_those_unread(channel: Channel) -> None:
    assert channel.unread_bytes() == 0
    channel.send(HEAD, b"b" * 96)
    channel.send(HEAD, b"b" * 96)
    assert channel.unread_bytes() == 2 * (4 + 100)
    channel.receive()
    assert channel.unread_bytes() == 104


def test_a_process_without_the_read_end_cannot_ask_what_is_unread(channel: Channel) -> None:
    channel.keep(reading=False, writing=True)
    with pytest.raises(ChannelError, match="read end is closed"):
        channel.unread_bytes()


def test_ends_that_are_not_kept_are_closed(channel: Channel) -> None:
    before = open_descriptors()
    channel.keep(reading=True, writing=False)
    assert (channel.writer_fileno(), open_descriptors()) == (-1, before - 1)
    with pytest.raises(ChannelError):
        channel.send(HEAD)
    channel.keep(reading=False, writing=False)
    assert (channel.reader_fileno(), open_descriptors()) == (-1, before - 2)
    with pytest.raises(ChannelError):
        channel.receive()


@pytest.mark.parametrize(
    "packet", [b"\xff\0\0\0short", b"ab", b"\0\0\0\0" + b"x" * (INLINE_LIMIT + 1)], ids=["short", "headless", "long"]
)
def test_a_packet_that_no_sender_makes_is_refused(packet: bytes) -> None:
    writer, reader = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel("test", writer, reader)
    writer.send(packet)
    with pytest.raises(ChannelError, match="incomplete"):
        channel.receive()
    channel.close()
