"""A round of the mix is a row that can be run again: by its seed and its number, and from its schedule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from courier import cli
from courier.config.config import Config
from scripts.faults.catalogue import ROWS
from scripts.faults.fault import Fault, Row
from scripts.faults.injectors import INJECTORS
from scripts.faults.mix import Outcome, draw_row, outcome_of
from scripts.faults.oracle import Seen, judge
from scripts.faults.schedule import from_json, read_schedule, to_json, write_schedule
from scripts.faults.trial import Result
from tests.unit.cli.configured import REQUIRED, configured, no_variables

__all__ = ["configured", "no_variables"]

ROUNDS: Final = [draw_row(seed, number) for seed in range(10) for number in range(10)]


def test_seed_and_number_decide_a_round() -> None:
    assert draw_row(7, 3) == draw_row(7, 3)
    assert draw_row(7, 3) != draw_row(7, 4)
    assert draw_row(7, 3) != draw_row(8, 3)


def test_a_wide_round_has_the_faults_of_its_number_and_many_processes() -> None:
    for number in range(20):
        row, wide = draw_row(7, number), draw_row(7, number, wide=True)
        assert [each.what for each in wide.faults] == [each.what for each in row.faults]
        assert option(wide, "--senders") == "16"
        assert option(wide, "--consumers") == ("1" if wide.server == "moto" else "8")
    assert {option(row, "--senders") for row in ROUNDS} == {"1", "2", "3", "4", "16"}


def test_a_round_suits_its_server() -> None:
    rounds = [draw_row(seed, number) for seed in range(30) for number in range(10)]
    assert {row.server for row in rounds} == {"courier", "fauxqs", "moto"}
    assert all(row.workload.beyond_bmp == (row.server == "courier") for row in rounds)
    small = [row for row in rounds if row.server == "moto"]
    assert {(row.programs, row.workload.groups, option(row, "--consumers")) for row in small} == {(1, 0, "1")}
    assert all(row.credentials for row in rounds for fault in row.faults if fault.what == "expire-credentials")


@pytest.mark.parametrize(
    ("missed", "failures", "outcome"),
    [
        ([], [], Outcome.HELD),
        (["a"], [], Outcome.HELD),
        (["a", "b"], [], Outcome.MET_NOTHING),
        (["a", "b"], ["lost"], Outcome.FAILED),
    ],
)
def test_a_round_whose_faults_all_had_nothing_to_hit_has_not_held(
    missed: list[str], failures: list[str], outcome: Outcome
) -> None:
    row = replace(ROUNDS[0], faults=(Fault("kill", "sender"), Fault("kill", "consumer")))
    verdict = judge(Seen(sent=[], deliveries=[], received=[], deletes=[], recorded=()))
    assert outcome_of(Result(row, "courier", verdict, failures, 2, 0.0, missed)) is outcome


def option(row: Row, flag: str) -> str:
    return row.options[row.options.index(flag) + 1]


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
