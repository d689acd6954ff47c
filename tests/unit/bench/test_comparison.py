from __future__ import annotations

import json

import pytest

from scripts.bench.comparison import Spread, last_line, ratio, render, render_roles, spread, summary
from scripts.bench.programs import given
from scripts.bench.servers import body
from scripts.bench.tree import Cpu, RoleCpu
from scripts.bench.trial import Trial


def trial(program: str, micros: float, seconds: float = 1.0, calls: dict[str, int] | None = None) -> Trial:
    cpu = Cpu(micros * 1000 / 1e6, {"sender": RoleCpu(micros * 1000 / 1e6, 0.0, 4)})
    return Trial(program, 1000, seconds, cpu, {"sender": 2048}, {"sender": [1024, 1024]}, calls or {}, {})


@pytest.fixture
def trials() -> dict[str, list[Trial]]:
    calls = {"ReceiveMessage": 100, "DeleteMessageBatch": 100}
    return {
        "courier": [trial("courier", micros, 0.05, calls) for micros in (40.0, 44.0, 42.0)],
        "by-hand": [trial("by-hand", 840.0, calls=calls)],
    }


def test_the_rounds_are_summed_up_by_median_and_range(trials: dict[str, list[Trial]]) -> None:
    table = summary(trials)
    assert table["courier"]["CPU µs/msg"] == pytest.approx((42.0, 40.0, 44.0))
    assert table["courier"]["msg/s"].median == pytest.approx(20_000)
    assert table["courier"]["PSS MiB"].median == pytest.approx(2.0)
    assert table["courier"]["SQS calls/msg"].median == pytest.approx(0.2)


def test_a_program_is_told_as_a_multiple_of_courier(trials: dict[str, list[Trial]]) -> None:
    table = summary(trials)
    assert ratio(table, "by-hand", "CPU µs/msg") == pytest.approx(20.0)
    assert "×20.00" in render(table)


def test_the_last_line_sums_it_up(trials: dict[str, list[Trial]]) -> None:
    assert last_line(summary(trials)) == "courier: 42.0 µs/msg, 5.0% of by-hand, 20,000 msg/s"


def test_the_last_line_stands_without_the_program_by_hand(trials: dict[str, list[Trial]]) -> None:
    del trials["by-hand"]
    assert last_line(summary(trials)) == "courier: 42.0 µs/msg, 20,000 msg/s"


def test_calls_that_nobody_counts_are_left_out() -> None:
    table = summary({"courier": [trial("courier", 40.0)]})
    assert "SQS calls/msg" not in table["courier"]
    assert render(table).endswith(" – |")


def test_roles_are_told_a_message(trials: dict[str, list[Trial]]) -> None:
    assert "| sender | 4 | 42.0 | 0.0 |" in render_roles(trials["courier"])


def test_a_spread_is_told_with_its_range() -> None:
    assert str(spread([1.0, 3.0, 2.0])) == "2.00 (1.00 to 3.00)"
    assert str(Spread(20_000.0, 19_000.0, 21_000.0)) == "20,000 (19,000 to 21,000)"


def test_a_program_is_given_by_name_and_command() -> None:
    program = given("simple-sqsd='/opt/simple sqsd' --slots 4")
    assert (program.name, program.command) == ("simple-sqsd", ["/opt/simple sqsd", "--slots", "4"])


@pytest.mark.parametrize("text", ["", "name", "name=", "=command"])
def test_a_program_without_name_or_command_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="NAME='COMMAND'"):
        given(text)


@pytest.mark.parametrize("size", [100, 220, 100_000])
def test_a_body_is_json_of_the_size_asked_for(size: int) -> None:
    made = body(12345, size)
    assert len(made) == size
    assert json.loads(made)["number"] == 12345
