"""What a crash left in the audit directory: the auditor starts at once, checks it beside the work, and ends in time."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

import pytest

from tests.process.world import Courier, Queue, Recipient, bodies, missing, until
from tests.unit.audit.test_reader import FIRST, line

MEBIBYTE = 1 << 20


def damaged(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(each.split()[1]) for each in lines if each.startswith("courier_audit_damaged_lines_total "))


@pytest.mark.parametrize("size", [4 * MEBIBYTE, pytest.param(256 * MEBIBYTE, marks=pytest.mark.full)])
def test_an_unfinished_file_holds_nothing_up_and_its_damage_is_counted(
    queue: Queue, recipient: Recipient, tmp_path: Path, free_port: int, size: int
) -> None:
    (tmp_path / "audit").mkdir()
    left = tmp_path / "audit" / FIRST
    block = line("a", b"x" * 1000) * 1000
    whole = block * (size // len(block)) + b"garbage\n" + line("b")
    left.write_bytes(whole + b"\0" * MEBIBYTE)
    options = ("--api", f"127.0.0.1:{free_port}")
    courier = Courier(queue.name, recipient.url, tmp_path, *options, endpoint=queue.endpoint)
    try:
        courier.wait_ready()
        sent = queue.send(bodies(50))
        until(lambda: queue.counts() == (0, 0), explain=courier.log)
        until(lambda: left.stat().st_size == len(whole), explain=courier.log)
        until(lambda: damaged(free_port) == 1, 120, courier.log)
        # The line is logged after the count.
        until(lambda: "the audit log is damaged" in courier.log(), explain=courier.log)
        assert courier.drain() == 0
        assert not missing(sent, courier.recorded())
    finally:
        courier.kill()


def test_a_drain_waits_for_no_check(queue: Queue, recipient: Recipient, tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    left = tmp_path / "audit" / FIRST
    # Hours of work, at the pace of the check.
    with left.open("wb") as file:
        file.truncate(1 << 40)
    courier = Courier(queue.name, recipient.url, tmp_path, endpoint=queue.endpoint)
    try:
        courier.wait_ready()
        queue.send(bodies(20))
        until(lambda: queue.counts() == (0, 0), explain=courier.log)
        began = time.monotonic()
        assert courier.drain() == 0
        assert time.monotonic() - began < 20.0, "less than the drain timeout"
    finally:
        courier.kill()
