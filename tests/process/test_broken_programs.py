"""The suite of the faults catches each of the nine broken programs, and finds nothing wrong with the whole one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from scripts.faults.broken import BROKEN
from scripts.faults.fault import Fault, Limits, Row
from scripts.faults.program import CourierAdapter
from scripts.faults.trial import run_trial
from scripts.faults.workload import Workload

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

PATIENT: Final = Limits(stall=6.0)
"""A busy machine stalls a program for a second or two; the one that is broken stalls for ten."""

PLAIN: Final = Row("plain", "no fault", Workload(400, rate=40.0), (), PATIENT, ("--consumers", "1"), visibility=5)
LATE: Final = Row(
    "late answers",
    "some answers are late, others 503",
    Workload(1000, rate=100.0),
    (
        Fault(
            "misbehave",
            lasts=6.0,
            detail={
                "behaviours": [
                    {"kind": "late", "share": 0.1, "seconds": 1.5},
                    {"kind": "status", "share": 0.3, "status": 503},
                ]
            },
        ),
    ),
    replace(PATIENT, stall=None),
    ("--timeout", "1"),
    # A broken program may leave a message in the queue, hidden from itself.
    settle_seconds=20.0,
)
SLOW: Final = Row(
    "slow answers",
    "each answer takes more than two visibility timeouts",
    Workload(50),
    (),
    PATIENT,
    visibility=4,
    answer_seconds=9.0,
    # Without extends the queue is never empty.
    settle_seconds=20.0,
)
FIFO: Final = Row("fifo", "no fault", Workload(300, groups=20), (), PATIENT)
FIREHOSE: Final = Row(
    "firehose",
    "Firehose takes a part of each call",
    Workload(400, rate=100.0),
    (Fault("firehose", "stream", at=0.0, lasts=3.0, detail={"kind": "partial", "share": 0.3}),),
    PATIENT,
    audit="firehose",
)
STOP: Final = Row(
    "a stop",
    "the sender that listens is stopped",
    Workload(15, rate=2.0, alone=True),
    (Fault("stop", "listening sender", at=2.0, lasts=9.0),),
    PATIENT,
    ("--senders", "4"),
    visibility=5,
    unread=True,
)
ROWS: Final = {
    "nothing": PLAIN,
    "disk": PLAIN,
    "late answers": LATE,
    "slow answers": SLOW,
    "fifo": FIFO,
    "firehose": FIREHOSE,
    "a stop": STOP,
}
"""The row that has what a broken program needs."""

REASONS: Final = {
    "lost": " lost: ",
    "unrecorded": " unrecorded: ",
    "out of order": " out of order: ",
    "duplicates": " duplicates that no fault explains: ",
    "stall": "a stall of ",
    "receives": "one message was received ",
}
"""How the reason of a failure in a column of the table reads."""


def visibility(row: Row) -> tuple[str, ...]:
    """Return the row's own visibility timeout, which a busy machine keeps more easily than a broken program's."""
    return "--visibility-timeout", str(row.visibility)


@needs_compiler
@pytest.mark.parametrize(
    "name",
    # The others pass through the same rows and columns, which a few are enough to hold in the short run.
    [pytest.param(name, marks=[] if number % 3 == 0 else [pytest.mark.full]) for number, name in enumerate(BROKEN)],
)
def test_a_broken_program_fails_in_the_column_of_what_it_breaks(name: str, tmp_path: Path) -> None:
    broken = BROKEN[name]
    row = ROWS[broken.needs]
    row = replace(row, options=(*row.options, *broken.options, *visibility(row)))
    result = run_trial(row, CourierAdapter("scripts.faults.broken", (name,)), tmp_path)
    assert any(REASONS[broken.shows] in failure for failure in result.failures), result.failures


@needs_compiler
@pytest.mark.parametrize(
    "row",
    [PLAIN, *(pytest.param(row, marks=pytest.mark.full) for row in (LATE, SLOW, FIFO, FIREHOSE, STOP))],
    ids=lambda row: row.name,
)
def test_the_whole_program_holds_in_the_same_rows(row: Row, tmp_path: Path) -> None:
    options = [broken.options for broken in BROKEN.values() if ROWS[broken.needs] is row]
    row = replace(row, options=(*row.options, *(word for each in options for word in each), *visibility(row)))
    result = run_trial(row, CourierAdapter(), tmp_path)
    assert result.held, result.failures
