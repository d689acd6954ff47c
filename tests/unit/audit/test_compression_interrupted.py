"""The compression, killed at every point of its way: nothing is lost, and the next start finishes it."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from courier.audit.compression import Compression
from courier.audit.seal import STORED
from courier.audit.sealing import Sealing
from courier.audit.segment import segments
from scripts.faults.disk import Disk
from tests.unit.audit.sealed_directory import contents, names, records, seal_all, seal_of
from tests.unit.faults.children import needs_compiler

DYING = Path(__file__).with_name("dying.py")
DEADLINE_SECONDS = 60.0
SHARES = 20
AUDITOR_LINES = 160
CHILD_LINES = 60
"""At least as many as there are."""


def dying(directory: Path, packing: str, who: str, where: int, how: str, disk: Disk | None = None) -> int | None:
    """Compress and die; return how many lines the auditor came to, or ``None`` if it died."""
    customization = directory.parent / "site"
    customization.mkdir(exist_ok=True)
    # A module that the child imports, in place of Python's own.
    (customization / "hashlib.py").write_text(
        "import importlib.util, os, runpy, sys\n"
        f"runpy.run_path({str(DYING)!r}, run_name='dying')['die_as_a_child']()\n"
        "path = os.path.join(os.path.dirname(os.__file__), 'hashlib.py')\n"
        "spec = importlib.util.spec_from_file_location('hashlib', path)\n"
        "sys.modules['hashlib'] = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(sys.modules['hashlib'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(customization)}
    ran = subprocess.run(
        [sys.executable, str(DYING), str(directory), packing, who, str(where), how],
        env={**environment, **(disk.environment() if disk else {})},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    if ran.returncode == -9:
        return None
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout.split()[-1])


@cache
def written() -> tuple[bytes, ...]:
    chance = random.Random("interrupted")
    return records(chance, 500), records(chance, 1), b""


def finish(directory: Path, packing: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    chore = Compression(Sealing(directory), packing)
    while (seconds := chore.step([each for each in segments(directory) if not each.legacy])) != math.inf:
        assert seconds <= 1.0, "it has failed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def no_process_works_in(directory: Path) -> bool:
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(directory) in os.readlink(link):
                return False
        except OSError:
            continue
    return True


def check(directory: Path, packing: str) -> None:
    """Check that the records are all there, that a new start completes the work, and that the seals say so."""
    assert contents(directory) == list(written())
    finish(directory, packing)
    assert contents(directory) == list(written())
    found = segments(directory)
    assert [each.packing for each in found] == [packing] * len(written())
    assert names(directory) == sorted(name for each in found for name in (each.path.name, each.seal.name))
    for segment in found:
        stored = seal_of(segment)[-1].fields
        assert stored["seal"] == STORED
        assert stored["stored_bytes"] == segment.path.stat().st_size


class Case(NamedTuple):
    """Who dies at which line, alone or with everybody; whether the power fails too."""

    who: str
    where: int
    how: str
    packing: str
    powerless: bool
    seed: int


def cases(share: int) -> list[Case]:
    """Draw a share of all lines, each with a kill of one and of all."""
    chance = random.Random("cases")
    every = [
        Case(who, where, how, chance.choice((".zst", ".gz")), chance.random() < 0.5, chance.getrandbits(32))
        for who, lines in (("auditor", AUDITOR_LINES), ("child", CHILD_LINES))
        for where in range(1, lines + 1)
        for how in ("alone", "all")
    ]
    chance.shuffle(every)
    return every[share::SHARES]


def test_the_lines_that_are_watched_are_all_that_it_comes_to(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    directory.mkdir()
    seal_all(directory, written())
    lines = dying(directory, ".zst", "nobody", -1, "alone")
    assert lines is not None
    assert AUDITOR_LINES - 20 < lines <= AUDITOR_LINES
    check(directory, ".zst")


@needs_compiler
@pytest.mark.parametrize("share", [0, *(pytest.param(n, marks=pytest.mark.full) for n in range(1, SHARES))])
def test_killed_at_any_line_it_loses_nothing_and_the_next_start_completes_it(tmp_path: Path, share: int) -> None:
    died = 0
    for number, case in enumerate(cases(share)):
        root = tmp_path / str(number)
        directory = root / "audit"
        directory.mkdir(parents=True)
        seal_all(directory, written())
        disk = Disk(directory, root / "disk") if case.powerless else None
        died += dying(directory, case.packing, case.who, case.where, case.how, disk) is None
        if disk is not None:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while not no_process_works_in(directory):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            disk.power_cut(random.Random(case.seed))
        check(directory, case.packing)
    assert died > 3
