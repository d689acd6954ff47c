from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from courier import cli
from tests.unit.audit.written import AT, Delivery, event, write

HOSTILE = b'\x1b]0;owned\x07\x1b[2J \xc2\x9b31m \xe2\x80\xae evil \xff"\n'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(
        tmp_path,
        1,
        [Delivery(message_id=f"a{each}", body=b"order %d" % each, at=AT + each).line() for each in range(5)],
    )
    write(
        tmp_path,
        2,
        [Delivery(message_id="b", body=HOSTILE, status=503, outcome="rejected: status 503", group="g").line()],
        packing=".zst",
    )
    write(tmp_path, 3, [Delivery(message_id="c", body=b"order 3\\x41").line("text")], form=".txt")
    write(tmp_path, 4, [event(message_id="d", outcome="retry", status=404, reason="gone", duration_ms=2500.0)])
    return tmp_path


def grep(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, list[str], str]:
    code = cli.main(["audit", "grep", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["order 3"], ["a3", "c"]),
        (["--id", "a1", "--id", "b"], ["a1", "b"]),
        (["--text", "evil"], ["b"]),
        (["-E", r"order [13]$"], ["a1", "a3"]),
        (["--since", "2026-11-24T12:31:43Z", "--status", "200"], ["a3", "a4"]),
        (["--until", "2026-11-24T12:31:41Z", "order"], ["a0", "a1", "c"]),
        (["--status", "5xx"], ["b"]),
        (["--status", "404,503"], ["b", "d"]),
        (["--status", "400-499"], ["d"]),
        (["--outcome", "rejected", "--outcome", "retry"], ["b", "d"]),
        (["--group", "g"], ["b"]),
        (["--slower", "1s"], ["d"]),
        (["order", "--slower", "2s"], []),
    ],
)
def test_each_option_chooses(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    directory: Path,
    arguments: list[str],
    found: list[str],
) -> None:
    monkeypatch.setenv("COURIER_AUDIT_PATH", str(directory))
    code, lines, _ = grep(capsys, *arguments, "-o", "json")
    assert [orjson.loads(line)["message_id"] for line in lines] == found
    assert code == (0 if found else 1)
    assert grep(capsys, *arguments, "-c")[1] == [str(len(found))]


def test_the_directory_follows_the_text_and_one_with_a_slash_needs_none(
    capsys: pytest.CaptureFixture[str], directory: Path
) -> None:
    assert grep(capsys, "order 3", directory, "-c")[1] == ["2"]
    assert grep(capsys, "--status", "404", directory, "-c")[1] == ["1"]
    assert grep(capsys, directory, "-c")[1] == ["8"]


@pytest.mark.parametrize("output", ["text", "table"])
def test_a_line_shows_the_record_and_no_character_of_a_body_that_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str], directory: Path, output: str
) -> None:
    _, lines, _ = grep(capsys, directory, "-o", output)
    assert len(lines) == 8 + (output == "table")
    assert all(line.isprintable() for line in lines)
    [line] = [line for line in lines if "evil" in line or "owned" in line]
    assert line.split()[:4] == ["2026-11-24T12:31:40.000Z", "rejected", "503", "10"]


def test_on_a_terminal_json_is_printable_too_and_the_same_record(directory: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "courier", "audit", "grep", "--id", "b", str(directory), "-o", "json"], stdout=theirs
    ) as process:
        os.close(theirs)
        shown = os.read(ours, 100_000).decode()
        assert process.wait(60) == 0
    os.close(ours)
    assert shown.removesuffix("\r\n").isprintable()
    assert orjson.loads(shown)["message_id"] == "b"


def test_into_a_pipe_json_is_the_line_of_the_log(capfdbinary: pytest.CaptureFixture[bytes], directory: Path) -> None:
    assert cli.main(["audit", "grep", "--id", "a1", str(directory), "-o", "json"]) == 0
    assert capfdbinary.readouterr().out == Delivery(message_id="a1", body=b"order 1", at=AT + 1).line()


def test_a_long_body_is_shown_around_what_was_searched_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write(tmp_path, 1, [Delivery(body=b"x" * 5000 + b"needle" + b"y" * 5000).line()])
    for option in ("--text=needle", "--regex=ne+dle"):
        _, [line], _ = grep(capsys, option, tmp_path)
        assert "needle" in line
        assert len(line) < 400


def test_damage_is_named_on_stderr_and_counts_for_nothing_else(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    good = Delivery().line()
    write(tmp_path, 1, [good, *[b"\0" + good] * 30, good])
    code, lines, error = grep(capsys, tmp_path, "-c")
    assert (code, lines) == (0, ["2"])
    assert error.splitlines()[0] == (
        f"courier audit grep: courier-000001-20261124T123140Z.jsonl, offset {len(good)}: "
        "the line is not a record; left out"
    )
    assert error.splitlines()[-1].startswith("courier audit grep: 10 more damaged lines; ")


def test_what_cannot_be_read_is_code_3_although_something_was_found(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = write(tmp_path, 1, [Delivery(message_id=f"{each}").line() for each in range(300)], packing=".zst")
    path.write_bytes(path.read_bytes()[:-30])
    write(tmp_path, 2, [Delivery(message_id="after").line()])
    code, lines, error = grep(capsys, "--id", "after", tmp_path)
    assert (code, len(lines)) == (3, 1)
    assert "cannot read courier-000001-20261124T123140Z.jsonl.zst to its end" in error


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--regex", "("],
            "--regex: missing ), unterminated subpattern at position 0; it must be a regular expression",
        ),
        (["--regex", "a{99999999999999999999}"], "--regex: "),
        (["--status", "4"], "--status: '4' must be a status, like 404, 5xx, 400-499 or none (no answer)"),
        (["--status", "500-400"], "--status: '500-400' must be a status"),
        (["--since", "soon"], "--since: 'soon' must be a time, like 2h"),
        (["--since", "1h", "--until", "2h"], "--until: "),
        (["--outcome", "lost"], "--outcome: 'lost' must be delivered, rejected"),
        (["--slower", "fast"], "--slower: 'fast' must be a time, like 1s, 250ms or 2m"),
        (["a", "--text", "b"], "--text: must be left out if TEXT is given"),
        (["--output", "xml"], "--output: 'xml' is not one of 'text', 'json', 'table'"),
    ],
)
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    code, lines, error = grep(capsys, *arguments)
    assert (code, lines) == (2, [])
    assert error.startswith(f"courier: error: {line}")
    assert error.count("\n") == 1


def test_a_directory_that_is_not_there_is_code_3(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, error = grep(capsys, "a", tmp_path / "none")
    assert code == 3
    assert error == (
        f"courier: error: cannot read the audit directory {tmp_path}/none: No such file or directory; "
        "give the one that Courier has as --audit-path, or a copy of the archive\n"
    )


def test_a_closed_pipe_ends_it_quietly(tmp_path: Path) -> None:
    write(tmp_path, 1, [Delivery(body=b"x" * 1000).line()] * 2000)
    with subprocess.Popen(
        [sys.executable, "-m", "courier", "audit", "grep", f"{tmp_path}/"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""


def test_the_copy_of_an_archive_is_searched_in_its_date_folders(
    capsys: pytest.CaptureFixture[str], directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = tmp_path_factory.mktemp("copy")
    for index, path in enumerate(sorted(directory.iterdir())):
        folder = copy / "2026" / "11" / f"{20 + index // 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
    assert grep(capsys, "-o", "json", copy) == grep(capsys, "-o", "json", directory)


def test_nothing_found_in_a_directory_that_no_courier_has_used_is_an_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, error = grep(capsys, "--id", "a", tmp_path)
    assert (code, out) == (3, [])
    assert error.startswith(f"courier: error: {tmp_path} has no audit files; ")
