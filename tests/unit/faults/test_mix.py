"""A round of the mix is a row that can be run again: by its seed and its number, and from its schedule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from courier import cli
from courier.config.config import Config
from scripts.faults.catalogue import ROWS
from scripts.faults.fault import Row
from scripts.faults.injectors import INJECTORS
from scripts.faults.mix import draw_row
from scripts.faults.schedule import from_json, read_schedule, to_json, write_schedule
from tests.unit.cli.configured import REQUIRED, configured, no_variables

__all__ = ["configured", "no_variables"]

ROUNDS: Final = [draw_row(seed, number) for seed in range(10) for number in range(10)]


def test_seed_and_number_decide_a_round() -> None:
    assert draw_row(7, 3) == draw_row(7, 3)
    assert draw_row(7, 3) != draw_row(7, 4)
    assert draw_row(7, 3) != draw_row(8, 3)


def test_each_fault_of_a_round_has_an_injector() -> None:
    assert {fault.what for row in ROUNDS for fault in row.faults} <= INJECTORS.keys()


@pytest.mark.parametrize("row", [*ROWS, *ROUNDS[:20]], ids=lambda row: row.name)
def test_a_schedule_is_the_row(row: Row, tmp_path: Path) -> None:
    write_schedule(row, tmp_path)
    assert read_schedule(tmp_path) == replace(row, full=None)


@pytest.mark.parametrize("text", ["{}", "[]", "", to_json(ROUNDS[0]).replace('"whom"', '"who"')])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"schedule|JSON|Expecting"):
        from_json(text)


def test_the_options_of_a_round_are_legal(configured: list[Config]) -> None:
    for row in ROUNDS:
        timeout = ("--visibility-timeout", str(row.visibility))
        for more in ((), *row.more_options):
            assert cli.main([*REQUIRED, *timeout, *row.options, *more]) == 0, (row.options, more)
    assert len(configured) > len(ROUNDS)
