from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from courier import cli
from courier.audit.record import Rejection
from courier.terminal.plot import plot
from tests.unit.audit.written import AT, Delivery, event, write

REJECTION = Rejection("status 422\x1b[2J", "orders", "no")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    lines = [Delivery(at=AT + 60 * each, body=b"12345").line() for each in range(4)]
    rejected = Delivery(outcome="rejected: status 422", status=422, at=AT + 60, group="g\x9b", rejection=REJECTION)
    write(tmp_path, 1, [*lines, rejected.line(), event(status=503, reason="status 503")], packing=".zst")
    write(tmp_path, 2, [Delivery().line("text")], form=".txt")
    return tmp_path


def stats(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = cli.main(["audit", "stats", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_table_has_a_row_a_minute_and_a_total(capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    code, out, _ = stats(capsys, directory)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert lines[0][:4] == ["MINUTE", "DELIVERED", "RETRIED", "REJECTED"]
    assert lines[1][:4] == ["2026-11-24T12:31", "1", "1", "0"]
    assert lines[2][:4] == ["2026-11-24T12:32", "1", "–", "1"]
    assert lines[6][:4] == ["total", "4", "1", "1"]
    assert "Delivered in each minute" in out
    assert all(line.isprintable() for line in out.splitlines())


def test_json_has_the_same_numbers(capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    _, out, _ = stats(capsys, directory, "-o", "json", "--every", "hour")
    report = orjson.loads(out)
    assert report["every"] == "hour"
    assert [row["time"] for row in report["rows"]] == ["2026-11-24T12:00:00Z", "unknown"]
    assert report["total"]["outcomes"] == {"delivered": 4, "rejected": 1, "retry": 1, "unknown": 1}
    assert report["total"]["latency_ms"]["max"] == 10.0
    assert report["top_groups"] == [{"group": "g\x9b", "count": 1, "missed_at_most": 0}]


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("status", ["200", "422", "503", "unknown"]),
        ("reason", ["none", "status 422\x1b[2J", "status 503"]),
        ("hour", ["12:00", "unknown"]),
        ("group", ["none", "g\x9b"]),
    ],
)
def test_another_key_counts(capsys: pytest.CaptureFixture[str], directory: Path, by: str, keys: list[str]) -> None:
    _, out, _ = stats(capsys, directory, "-o", "json", "--by", by)
    assert [row[by] for row in orjson.loads(out)["rows"]] == keys
    _, out, _ = stats(capsys, directory, "--by", by)
    assert out.splitlines()[0].split()[0] == by.upper()
    assert all(line.isprintable() for line in out.splitlines())


def test_filters_choose_what_is_counted(capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    _, out, _ = stats(capsys, directory, "--outcome", "rejected", "-o", "json")
    assert orjson.loads(out)["total"]["records"] == 1


def test_an_empty_directory_has_no_records(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "LOCK").touch()
    assert stats(capsys, tmp_path) == (0, "no records\n", "")


def test_a_directory_that_no_courier_has_used_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, error = stats(capsys, tmp_path)
    assert (code, out) == (3, "")
    assert error.startswith(f"courier: error: {tmp_path} has no audit files; give the directory that Courier has")


def test_every_and_by_exclude_each_other(capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    code, _, error = stats(capsys, directory, "--every", "day", "--by", "group")
    assert (code, error) == (2, "courier: error: --by: must be left out with --every, or the other way round\n")


def test_a_plot_is_as_wide_as_it_may_be_and_shows_every_value_above_zero() -> None:
    for number in (1, 2, 20, 500):
        lines = plot([0.0, *[1000.0] * number, 0.001], 80, "a", "b", "title")
        assert max(map(len, lines)) <= 80
    assert plot([1.0, 0.0, 1000.0], 80, "a", "b", "t")[-3].endswith("│▁▁▁▁▁▁      ██████")
