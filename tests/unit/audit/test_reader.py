from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from courier.audit.reader import audit_files, read_records
from courier.audit.record import record_line
from tests.unit.audit.test_record import MESSAGE

FIRST = "courier-000001-20261124T123140Z.jsonl"
SECOND = "courier-000002-20261124T123140Z.jsonl"


def line(message_id: str, body: bytes = b"x") -> bytes:
    return record_line(MESSAGE._replace(message_id=message_id, body=body), "delivered", 200, 0.001, 1.0)


def read_ids(directory: Path) -> tuple[list[str], list[tuple[str, int]]]:
    damaged: list[tuple[str, int]] = []
    records = list(read_records(directory, lambda path, offset: damaged.append((path.name, offset))))
    return [record.message_id for record in records], damaged


def test_files_are_read_in_the_order_in_which_they_were_begun_those_of_earlier_versions_first(tmp_path: Path) -> None:
    (tmp_path / "courier-000010-20261124T123139Z.jsonl").write_bytes(line("e"))
    (tmp_path / SECOND).write_bytes(line("d"))
    (tmp_path / FIRST).write_bytes(line("c"))
    (tmp_path / "courier-20261124T123142.000Z-000008.jsonl").write_bytes(line("b"))
    (tmp_path / "courier-20261124T123141.000Z-000010.jsonl").write_bytes(line("a"))
    assert read_ids(tmp_path) == (["a", "b", "c", "d", "e"], [])


def test_abandoned_files_are_read_and_strangers_are_not(tmp_path: Path) -> None:
    (tmp_path / FIRST.replace(".jsonl", ".abandoned.jsonl")).write_bytes(line("a") + b'{"torn')
    (tmp_path / SECOND).write_bytes(line("b"))
    for name in ("LOCK", "notes.jsonl", SECOND + ".gz", "courier-1-2.jsonl"):
        (tmp_path / name).write_bytes(line("stranger"))
    assert read_ids(tmp_path) == (["a", "b"], [])
    assert len(audit_files(tmp_path)) == 2


def test_a_torn_tail_is_passed_over_at_every_byte(tmp_path: Path) -> None:
    whole, last = line("a"), line("b")
    for length in range(len(last)):
        (tmp_path / FIRST).write_bytes(whole + last[:length])
        assert read_ids(tmp_path) == (["a"], [])
    (tmp_path / FIRST).write_bytes(whole + last)
    assert read_ids(tmp_path) == (["a", "b"], [])


def test_damage_in_the_middle_is_told_and_reading_goes_on(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_bytes(line("a") + b"\0" * 40 + line("b") + line("c"))
    assert read_ids(tmp_path) == (["a", "c"], [(FIRST, len(line("a")))])


@given(body=st.one_of(st.binary(), st.text().map(str.encode)))
def test_every_body_reads_back_byte_for_byte(body: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / FIRST).write_bytes(line("a", body))
        [record] = read_records(directory)
    assert record.body == body
    assert (record.outcome, record.status, record.receive_count) == ("delivered", 200, 2)
