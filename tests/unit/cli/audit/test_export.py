from __future__ import annotations

import csv
import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from base64 import b64decode
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from courier import cli
from courier.audit.columns import COLUMNS, csv_head, csv_rows, jsonl
from courier.audit.filter import Filter
from courier.audit.search import search
from tests.examples import examples
from tests.unit.audit.test_search import deliveries
from tests.unit.audit.written import Delivery, event, write

ROOT = Path(__file__).parents[4]


def exported(*arguments: str | Path) -> int:
    return cli.main(["audit", "export", *map(str, arguments)])


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))


def body_of(row: dict[str, str | None]) -> bytes:
    return b64decode(row["body_base64"]) if row["body_base64"] else str(row["body"] or "").encode()


@given(
    written=st.lists(deliveries, max_size=5),
    form=st.sampled_from(["json", "text"]),
    body=st.sampled_from(["text", "base64"]),
)
@run_with(max_examples=examples(200))
def test_every_body_comes_back_from_csv_and_json_lines(written: list[Delivery], form: str, body: str) -> None:
    kept = [each for each in written if form == "json" or re.fullmatch(r"[\w-]+", each.message_id)]
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), 1, [each.line(form) for each in kept], form=".jsonl" if form == "json" else ".txt")
        found = list(search(Path(name), Filter()))
    table = csv_head() + b"".join(map(csv_rows(body), found))
    lines = [orjson.loads(jsonl(body)(each)) for each in found]
    assert b"\0" not in table
    assert [body_of(dict(row)) for row in rows(table)] == [each.body for each in kept]
    assert [body_of(line) for line in lines] == [each.body for each in kept]
    assert [line["message_id"] for line in lines] == [each.message_id for each in kept]
    assert all(list(line) == list(COLUMNS) for line in lines)


@given(
    body=st.builds(
        bytes.__add__, st.sampled_from([b"=", b"+", b"-", b"@", b"\t", b"\r", b"\n", b""]), st.binary(max_size=5)
    ),
    group=st.sampled_from(["", "=g", "-1", "+1"]),
)
def test_no_cell_for_a_spreadsheet_is_a_formula(body: bytes, group: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), 1, [Delivery(body=body, group=group).line()])
        [found] = search(Path(name), Filter())
    [row] = rows(csv_head() + csv_rows("text", for_spreadsheet=True)(found))
    assert [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
    [row] = rows(csv_head() + csv_rows("text")(found))
    assert row["group"] == group


def test_a_file_has_its_name_when_it_is_whole_and_is_for_its_owner_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write(tmp_path, 1, [Delivery(body=b"a,b\r\n").line(), event(reason="gone", attempt=2, worker="sender 1")])
    target = tmp_path / "records.csv"
    assert exported(tmp_path, "--to", "csv", "-o", target) == 0
    first, second = rows(target.read_bytes())
    assert (first["segment"], first["segment_offset"], first["status"]) == (
        "courier-000001-20261124T123140Z.jsonl",
        "0",
        "200",
    )
    assert first["body"] == "a,b\r\n"
    assert (second["outcome"], second["attempt"], second["worker"], second["status"]) == ("retry", "2", "sender 1", "")
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.glob("records*")] == ["records.csv"]
    assert capsys.readouterr().err == f"courier audit export: 2 records written to {target}\n"
    assert exported(tmp_path, "--to", "csv", "-o", target) == 2
    assert f"--output: {target} exists; remove it" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_on_a_terminal_a_body_moves_no_cursor(tmp_path: Path, form: str) -> None:
    write(tmp_path, 1, [Delivery(body="\x1b]0;owned\x07\x9b2J\u202e\n".encode()).line()])
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "courier", "audit", "export", "--to", form, str(tmp_path)], stdout=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):
            while piece := os.read(ours, 100_000):
                shown += piece
        assert process.wait(60) == 0
    os.close(ours)
    lines = shown.decode().split("\r\n")
    assert all(line.isprintable() for line in lines)
    assert "owned" in lines[-2]


def test_a_failed_export_leaves_no_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert exported(tmp_path / "none", "--to", "csv", "-o", tmp_path / "records.csv") == 3
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "LOCK").touch()
    assert exported(tmp_path, "--to", "csv", "-o", tmp_path / "none" / "records.csv") == 2
    assert "--output: cannot create" in capsys.readouterr().err


@pytest.mark.parametrize("kept", ["sha256", "none"])
def test_a_body_that_is_not_kept_is_empty(capsys: pytest.CaptureFixture[str], tmp_path: Path, kept: str) -> None:
    write(tmp_path, 1, [Delivery(body=b"abc").line(kept=kept)])
    assert exported(tmp_path, "--to", "jsonl") == 0
    line = orjson.loads(capsys.readouterr().out)
    assert (line["body"], line["body_base64"]) == (None, None)
    assert (line["body_length"] == 3) == (kept == "sha256") == bool(line["body_sha256"])


def test_bodies_can_be_left_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write(tmp_path, 1, [Delivery(body=b"abc").line(), Delivery(body=b"\xff").line()])
    assert exported(tmp_path, "--to", "jsonl", "--body", "none", "--status", "200") == 0
    for line in capsys.readouterr().out.splitlines():
        assert (orjson.loads(line)["body"], orjson.loads(line)["body_base64"]) == (None, None)


def test_the_columns_are_in_the_docs() -> None:
    page = (ROOT / "docs" / "audit.md").read_text()
    assert "\n".join(f"| `{name}` | {text} |" for name, text in COLUMNS.items()) in page
