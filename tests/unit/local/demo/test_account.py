from __future__ import annotations

from pathlib import Path

from courier.local.demo.account import Account, settle_account
from tests.unit.audit.test_reader import FIRST, line


def account(directory: Path, delivered: set[str], audited: str, left: int = 0, requests: int = 3) -> Account:
    (directory / FIRST).write_bytes(b"".join(line(message_id) for message_id in audited))
    return settle_account("abc", delivered, directory, left=left, requests=requests, seconds=0.5)


def test_all_is_well_when_everything_is_everywhere(tmp_path: Path) -> None:
    settled = account(tmp_path, {"a", "b", "c"}, "abc")
    assert settled.complete
    assert str(settled) == "sent 3 delivered 3 audited 3 deleted 3 duplicates 0 lost 0 rate 6 msg/s"


def test_a_second_delivery_is_a_duplicate_and_no_loss(tmp_path: Path) -> None:
    settled = account(tmp_path, {"a", "b", "c"}, "abcc", requests=4)
    assert settled.duplicates == 1
    assert settled.complete


def test_what_is_missing_anywhere_is_lost(tmp_path: Path) -> None:
    assert account(tmp_path, {"a", "b"}, "abc").lost == 1
    assert account(tmp_path, {"a", "b", "c"}, "ab").lost == 1
    assert account(tmp_path, {"a", "b"}, "bc").lost == 2
    assert not account(tmp_path, {"a", "b"}, "abc").complete


def test_what_is_left_in_the_queue_is_not_complete(tmp_path: Path) -> None:
    settled = account(tmp_path, {"a", "b", "c"}, "abc", left=1)
    assert settled.deleted == 2
    assert not settled.complete


def test_strangers_count_for_nothing(tmp_path: Path) -> None:
    settled = account(tmp_path, {"a", "b", "x"}, "abx")
    assert (settled.delivered, settled.audited, settled.lost) == (2, 2, 1)
