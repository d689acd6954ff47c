"""The outcomes of a sender on their way: how they are packed, and what happens when nobody reads them."""

from __future__ import annotations

import asyncio
import random

import pytest

from courier.message import DELIVERED, REJECTED, RELEASE, unpack_settlements
from courier.outbox import BYTES_PER_PACKET, CAPACITY, OUTCOMES_PER_PACKET, Outbox
from courier.process import scoreboard
from tests.unit.stage import Surroundings, empty, fill, message, of_kind
from tests.waiting import stays, until


class Stage(Surroundings):
    """An outbox, and how often it said that all is on its way."""

    def __init__(self, *, fifo: bool = False) -> None:
        super().__init__("sender")
        self.sent = 0
        self.outbox = Outbox(asyncio.get_running_loop(), self.acks, self.slot, self._on_sent, fifo=fifo, visibility=30)

    def _on_sent(self) -> None:
        self.sent += 1

    def deliver(self, *names: str, record: bytes = b"record\n") -> None:
        for name in names:
            self.outbox.add(DELIVERED, message(name), 1.0, 0.0, record)

    def packets(self) -> list[list[str]]:
        packets = []
        while (received := self.acks.receive()) is not None:
            packets.append([outcome[1] for outcome in unpack_settlements(*received)])
        return packets


def names(count: int) -> list[str]:
    return [f"m{n}" for n in range(count)]


async def test_outcomes_of_one_moment_share_a_packet() -> None:
    stage = Stage()
    stage.deliver(*names(5))
    assert not stage.packets()
    await until(lambda: stage.sent)
    assert stage.packets() == [names(5)]
    assert stage.word(scoreboard.SETTLE_PUT) == 5
    assert len(stage.outbox) == 0


async def test_a_full_packet_waits_for_nobody_and_no_packet_holds_more() -> None:
    stage = Stage()
    stage.deliver(*names(OUTCOMES_PER_PACKET + 3))
    await asyncio.sleep(0)
    assert stage.packets() == [names(OUTCOMES_PER_PACKET), names(OUTCOMES_PER_PACKET + 3)[OUTCOMES_PER_PACKET:]]


async def test_on_a_fifo_queue_an_outcome_goes_with_the_next_turn_of_the_loop() -> None:
    stage = Stage(fifo=True)
    stage.deliver("a")
    await until(lambda: stage.sent)
    assert stage.packets() == [["a"]]


async def test_large_records_are_parted_so_that_none_travels_in_a_descriptor_but_one_that_is_too_large_by_itself() -> (
    None
):
    stage = Stage()
    stage.deliver("a", "b", "c", record=b"x" * (BYTES_PER_PACKET // 2))
    stage.deliver("huge", record=b"x" * 200_000)
    stage.deliver("d")
    await until(lambda: stage.sent)
    assert stage.packets() == [["a"], ["b"], ["c"], ["huge"], ["d"]]


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_their_sizes_and_however_often_the_channel_is_full_outcomes_keep_their_order(seed: int) -> None:
    stage = Stage()
    draw = random.Random(seed)
    sizes = [draw.choice((0, 10, 500, 3_000, 20_000, 70_000)) for _ in range(200)]
    packets: list[list[int]] = []

    def receive() -> None:
        while (received := stage.acks.receive()) is not None:
            packet = [(int(outcome[1]), len(outcome[7] or b"")) for outcome in unpack_settlements(*received)]
            assert all(sizes[number] == size for number, size in packet)
            assert received[1] == b"" or len(packet) == 1
            packets.append([number for number, _ in packet])

    for number, size in enumerate(sizes):
        stage.deliver(str(number), record=b"x" * size)
        if draw.random() < 0.1:
            stage.outbox.flush()
        if draw.random() < 0.05:
            receive()
    while len(stage.outbox):
        receive()
        await asyncio.sleep(0.001)
    receive()
    assert [number for packet in packets for number in packet] == list(range(200))
    assert max(map(len, packets)) <= OUTCOMES_PER_PACKET
    assert stage.word(scoreboard.SETTLE_PUT) == 200


async def test_a_letter_counts_towards_the_size_of_its_packet() -> None:
    stage = Stage()
    for name in ("a", "b"):
        stage.outbox.add(REJECTED, message(name), 1.0, 0.0, b"record\n", b"x" * (BYTES_PER_PACKET - 1000))
    await until(lambda: stage.sent)
    assert stage.packets() == [["a"], ["b"]]


async def test_a_full_channel_keeps_everything_in_order_and_says_so_when_the_outbox_is_full() -> None:
    stage = Stage()
    fill(stage.acks)
    stage.deliver(*names(CAPACITY - 1))
    assert not stage.outbox.is_full
    stage.deliver("last")
    assert stage.outbox.is_full
    await stays(lambda: stage.outbox.is_full and not stage.sent, 0.1)
    empty(stage.acks)
    await until(lambda: stage.sent)
    assert [name for packet in stage.packets() for name in packet] == [*names(CAPACITY - 1), "last"]
    assert stage.word(scoreboard.SETTLE_PUT) == CAPACITY


async def test_what_is_released_is_counted_when_it_is_reported() -> None:
    stage = Stage()
    stage.outbox.add(RELEASE, message("a"), 1.0)
    stage.deliver("b")
    stage.outbox.flush()
    assert stage.word(scoreboard.RELEASED) == 1
    assert stage.outcomes() == [*of_kind(RELEASE, ["a"]), *of_kind(DELIVERED, ["b"])]


async def test_what_is_recorded_travels_with_what_tells_its_receives_apart() -> None:
    stage = Stage()
    recorded = message("a")._replace(receive_count=3, sent_ms=1_764_000_000_000, first_received_ms=1_764_000_000_500)
    stage.outbox.add(DELIVERED, recorded, 1.0, 0.0, b"record\n")
    stage.outbox.add(RELEASE, message("b").handle, 1.0)
    await until(lambda: stage.sent)
    received = stage.acks.receive()
    assert received is not None
    assert [outcome[9] for outcome in unpack_settlements(*received)] == [recorded[4:7], ()]
