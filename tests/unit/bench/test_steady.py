from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from scripts.bench import start
from scripts.bench.pace import Ages, dated
from scripts.bench.programs import courier, environment
from scripts.bench.samples import Samples, Where
from scripts.bench.scenarios import processes
from scripts.bench.scenarios.steady import rates, render
from scripts.bench.size import Size, sizes
from scripts.bench.versions import BEFORE, NOW, ROOT, beside, extract, versions, with_options

MANY: Final = "2000"
"""So many messages that some are left when a busy machine lets the bench look for the first time."""

needs_history = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the commits aren't here")


def test_sizes_and_rates_are_read_as_they_are_written() -> None:
    assert sizes("1+1,8+16") == [Size(1, 1), Size(8, 16)]
    assert rates("0,10,2.50,full") == ["0", "10", "2.5", "full"]
    assert str(Size(8, 16)) == "8 + 16"


@pytest.mark.parametrize("text", ["", "2", "2+", "a+b", "1+2+3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        sizes(text)


def test_a_figure_is_shown_with_that_of_before_and_how_many_times_it_is() -> None:
    assert beside([800.0, 820.0, 810.0], [1620.0]) == "810 (1,620, ×0.50)"
    assert beside([0.3], [0.74], " %") == "0.30 % (0.74 %, ×0.41)"
    assert beside([12.34], []) == "12.3"
    assert beside([5.0], [0.0]) == "5.00 (0.00)"
    assert beside([], [1.0]) == "–"


def test_the_table_says_for_each_rate_what_was_measured_at_it() -> None:
    samples = Samples()
    samples.add(NOW, Where("1 + 1", "0"), cpu=0.3, wakes=20.0)
    samples.add(NOW, Where("1 + 1", "full"), cpu=30.0, rate=30_000.0)
    samples.add(NOW, Where("1 + 1"), pss=70.0)
    shown = render(samples, [Size(1, 1)], ["0", "full"])
    assert "| 1 + 1 | 0 | 0.30 % | – | – | – | – | 20.0/s | – | – |" in shown
    assert "| 1 + 1 | 30,000 | 30.0 |" in shown
    assert "| 1 + 1 | – | – | 70.0 | – |" in shown


def test_a_slow_recipient_gets_as_many_messages_as_take_some_seconds() -> None:
    assert processes.enough(Size(1, 1), 50, 40_000) == 4 * 16 * 20
    assert processes.enough(Size(8, 16), 0, 40_000) == processes.enough(Size(8, 16), 2, 40_000) == 40_000


def test_the_ages_of_messages_are_summed_up_in_milliseconds() -> None:
    assert Ages.of([0.001 * number for number in range(1, 102)]) == pytest.approx((51.0, 100.0, 101.0))
    assert len(dated(123.0)) == pytest.approx(220, abs=20)


@needs_history
def test_an_earlier_version_is_that_of_the_commit_and_runs_from_its_own_files(tmp_path: Path) -> None:
    found = versions("HEAD", tmp_path)
    assert list(found) == [NOW, BEFORE]
    then = with_options(found[BEFORE], "--version")
    assert found[NOW].directory is None
    shown = subprocess.run(
        [sys.executable, "-c", "import courier; print(courier.__file__)"],
        cwd=then.directory,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == str(tmp_path / "courier" / "__init__.py")
    assert list((tmp_path / "courier" / "__pycache__").iterdir()), "its first start would compile it"
    assert subprocess.run(then.command, cwd=then.directory, capture_output=True, check=False).returncode == 0


@needs_history
def test_a_commit_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--before no-such-commit"):
        extract("no-such-commit", tmp_path)


def test_a_program_has_its_keys_in_its_variables_or_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    monkeypatch.setenv("AWS_PROFILE", "other")
    static = environment(start.with_static_keys(courier(), tmp_path), "queue", "endpoint", "sink", tmp_path)
    assert static["AWS_ACCESS_KEY_ID"] == "bench"
    assert "AWS_PROFILE" not in static
    filed = environment(start.with_profile(courier(), tmp_path), "queue", "endpoint", "sink", tmp_path)
    assert "AWS_ACCESS_KEY_ID" not in filed
    assert filed["AWS_PROFILE"] == "bench"
    assert "aws_secret_access_key = bench" in Path(filed["AWS_SHARED_CREDENTIALS_FILE"]).read_text()


def bench(output: Path, *options: str) -> dict[tuple[str, str, str, str], list[float]]:
    """Run a scenario; return its samples by version, size, setting and figure."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench", *options, "--output", str(output)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env=os.environ | {"AWS_EC2_METADATA_DISABLED": "true"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((output / f"{options[0]}.json").read_text())["figures"]
    return {(s["version"], s["size"], s["setting"], s["figure"]): s["values"] for s in figures}


@pytest.mark.full
@needs_history
def test_every_rate_of_two_versions_is_measured_in_one_run(tmp_path: Path) -> None:
    found = bench(
        tmp_path, "steady", "--before", "HEAD", "--sizes", "1+1", "--rates", "0,20,full", "--rounds", "1",
        "--seconds", "0.5", "--idle-seconds", "2", "--messages", MANY,
    )  # fmt: skip
    for version in (NOW, BEFORE):
        for rate in ("0", "20", "full"):
            by_role = [found[version, "1 + 1", rate, name][0] for name in ("consumer", "sender", "auditor", "rest")]
            assert found[version, "1 + 1", rate, "cpu"] == [pytest.approx(sum(by_role))]
            assert min(by_role) >= 0
            assert found[version, "1 + 1", rate, "wakes"][0] > 0
        assert found[version, "1 + 1", "20", "p99"][0] >= found[version, "1 + 1", "20", "p50"][0] > 0
        assert found[version, "1 + 1", "", "pss"][0] > 10
        for kind in start.STARTS:
            assert found[version, "1 + 1", "", kind][0] > 10


@pytest.mark.full
def test_each_recipient_is_measured_with_each_size(tmp_path: Path) -> None:
    options = ("--sizes", "1+1,1+2", "--recipient-ms", "0,20", "--rounds", "1", "--messages", MANY)
    found = bench(tmp_path, "processes", *options)
    assert {(size, setting) for _, size, setting, _ in found} == {
        (size, setting) for size in ("1 + 1", "1 + 2") for setting in ("0 ms", "20 ms")
    }
    assert all(value > 0 for values in found.values() for value in values)


def test_the_options_of_the_page_are_those_of_the_scenarios() -> None:
    parser = argparse.ArgumentParser()
    processes.add_options(parser)
    given = parser.parse_args(["--sizes", "8+16", "--recipient-ms", "2,10,50", "--before", "HEAD~1"])
    assert (given.sizes, given.recipient_ms, given.before) == ([Size(8, 16)], [2, 10, 50], "HEAD~1")
