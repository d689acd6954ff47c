"""docs/sizing.md: its tables are those of the model, and its commands print what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from courier.cli.output import EXIT_READER_LEFT
from courier.errors import EXIT_CANNOT_START
from scripts.scale.__main__ import main
from scripts.scale.page import QUICK, TABLES, rendered
from tests.unit.deploy.files import ROOT

PAGE = ROOT / "docs" / "sizing.md"
ASKED = re.compile(r"^```console\n\$ python -m scripts\.scale (.*)\n((?:.*\n)*?)^```", re.MULTILINE)


def test_the_tables_of_the_page_are_those_of_the_model() -> None:
    text = PAGE.read_text()
    assert rendered(text, QUICK) == text, "run make scale-docs"
    assert set(re.findall(r"<!-- ([a-z]+) -->\n\n?\S", text)) - {"end"} == set(TABLES)


@pytest.mark.full
def test_the_simulated_tables_of_the_page_are_those_of_the_simulation() -> None:
    text = PAGE.read_text()
    assert rendered(text, TABLES) == text, "run make scale-docs"


def test_each_question_on_the_page_has_the_answer_that_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ASKED.findall(PAGE.read_text())
    assert len(asked) >= 2
    for words, shown in asked:
        assert main(shlex.split(words)) == (2 if shown.startswith("not with one queue") else 0)
        out, err = capsys.readouterr()
        assert (out or err) == shown


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "--rate is missing"),
        ("--rate 0", "isn't a number above 0"),
        ("--rate nan", "isn't a number above 0"),
        ("--rate 5 --latency soon", "isn't a time such as 200ms"),
        ("--rate 5 --latency 13h", "up to 12h"),
        ("--rate 5 --size 2MiB", "isn't a size such as 10KB, up to 1MiB"),
        ("--rate 5 --size big", "isn't a size"),
        ("--rate 5 --keep forever", "isn't a time such as 7d"),
        ("--rate 5 --groups -1", "isn't a whole number"),
        ("--rate 5 --average 6", "--average is more than --rate"),
        ("--rate 5 --size 0.1", "isn't a size"),
        ("--rate 5 --region eu", "isn't a region such as us-east-1"),
        ("measure --output /dev/null/here", "--output: cannot write to /dev/null/here"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(words: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert why in line


@pytest.mark.parametrize(("output", "code"), [("/dev/full", EXIT_CANNOT_START), ("closed pipe", EXIT_READER_LEFT)])
def test_output_that_nobody_takes_is_no_traceback(output: str, code: int) -> None:
    if output == "closed pipe":
        reader, descriptor = os.pipe()
        os.close(reader)
    else:
        descriptor = os.open(output, os.O_WRONLY)
    command = [sys.executable, "-m", "scripts.scale", "--rate", "10"]
    ended = subprocess.run(
        command, cwd=ROOT, stdout=descriptor, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(descriptor)
    assert ended.returncode == code
    assert len(ended.stderr.splitlines()) == (code == EXIT_CANNOT_START), ended.stderr


def test_the_page_is_written_anew_between_its_marks(tmp_path: Path) -> None:
    text = "before\n<!-- plans -->\nold\n<!-- end -->\n<!-- other -->\nkept\n<!-- end -->\n"
    changed = rendered(text, {"plans": lambda: "new"})
    assert changed == "before\n<!-- plans -->\nnew\n<!-- end -->\n<!-- other -->\nkept\n<!-- end -->\n"
