from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from courier import cli
from tests.unit.audit.written import Delivery, packed, write


def test_the_last_records_are_shown_across_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for number in range(1, 4):
        lines = [Delivery(message_id=f"{number}-{each}").line() for each in range(3)]
        write(tmp_path, number, lines, packing=".zst" if number < 3 else "")
    assert cli.main(["audit", "tail", "-n", "5", "-o", "json", str(tmp_path)]) == 0
    shown = [orjson.loads(line)["message_id"] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["2-1", "2-2", "3-0", "3-1", "3-2"]


def test_a_directory_that_is_not_there_is_code_3(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["audit", "tail", str(tmp_path / "none")]) == 3
    assert "No such file or directory" in capsys.readouterr().err


def test_what_comes_is_shown_until_ctrl_c_also_in_a_directory_that_is_made_later(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    with subprocess.Popen(
        [sys.executable, "-m", "courier", "audit", "tail", "-f", "-o", "json", str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None

        def shown() -> str:
            assert process.stdout is not None
            return str(orjson.loads(process.stdout.readline())["message_id"])

        directory.mkdir()
        path = write(directory, 1, [Delivery(message_id="a").line()])
        assert shown() == "a"
        with path.open("ab") as file:
            file.write(Delivery(message_id="b").line())
        write(directory, 2, [Delivery(message_id="c").line()])
        (directory / f"{path.name}.zst").write_bytes(packed(path.read_bytes(), ".zst"))
        path.unlink()
        assert [shown(), shown()] == ["b", "c"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert b"Traceback" not in process.stderr.read()
