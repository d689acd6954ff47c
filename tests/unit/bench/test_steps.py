from __future__ import annotations

import faulthandler
import tempfile
from pathlib import Path

import pytest

from scripts.bench.steps import AWAITING, LOOP, STEPS, Frame, count_lines, read_stacks, step_of

LIBRARY = "/usr/lib/python3.11/asyncio/events.py"
WORKER = Frame("/x/courier/process/child.py", 213, "_run")
ROOT = Path(__file__).parents[3] / "courier"


def frame(module: str, function: str) -> Frame:
    return Frame(f"/x/courier/{module}", 1, function)


@pytest.mark.parametrize(
    ("innermost", "step"),
    [
        (frame("process/channel.py", "receive"), "channel: receive"),
        (frame("process/channel.py", "_send_descriptor"), "channel: send"),
        (frame("http/connection.py", "data_received"), "HTTP: parse the answer"),
        (frame("http/connection.py", "_write"), "HTTP: send the request"),
        (frame("audit/files.py", "append"), "audit: write and fsync"),
        (frame("nowhere.py", "f"), "other: nowhere.py"),
    ],
)
def test_a_stack_belongs_to_the_step_of_its_innermost_function(innermost: Frame, step: str) -> None:
    assert step_of([innermost, frame("sender/sender.py", "conclude"), WORKER]) == step


def test_a_library_belongs_to_who_called_it() -> None:
    assert (
        step_of([Frame(LIBRARY, 1, "f"), frame("audit/record.py", "record_line"), WORKER]) == "audit: make the record"
    )


def test_a_worker_with_nothing_on_its_stack_is_in_the_loop() -> None:
    assert step_of([WORKER, frame("process/supervisor.py", "run")]) == LOOP


def test_asyncio_without_a_caller_of_ours_is_told_apart_from_the_loop() -> None:
    assert step_of([Frame(LIBRARY, 1, "f"), WORKER]) == AWAITING


def test_what_faulthandler_writes_is_read() -> None:
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=False)
        file.seek(0)
        (stack,) = read_stacks(file.read())
    assert stack[0].function == "test_what_faulthandler_writes_is_read"
    assert stack[0].path == __file__


def test_a_line_is_told_by_the_innermost_function_of_couriers() -> None:
    stack = [Frame(LIBRARY, 1, "f"), Frame("/x/courier/sender/sender.py", 7, "_post"), WORKER]
    assert count_lines([stack]) == {"sender/sender.py:7 _post": 1}


@pytest.mark.parametrize("module", sorted({module for _, module, _ in STEPS}))
def test_every_module_that_a_step_names_is_there(module: str) -> None:
    assert (ROOT / module).exists()
