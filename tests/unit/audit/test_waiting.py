"""What waits for the archive, and what looking at it costs in a directory of many segments."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.audit import names
from courier.audit.segment import Segment, segments
from courier.audit.waiting import Waiting

HOUR = 3600.0


def made(directory: Path, sizes: Sequence[int]) -> list[Segment]:
    for number, size in enumerate(sizes, 1):
        (directory / f"courier-{number:06d}-20261124T120000Z.jsonl").write_bytes(bytes(size))
    return segments(directory)


def test_a_directory_that_has_not_changed_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(tmp_path, [10, 20, 30])
    at = tmp_path.stat().st_mtime - HOUR
    os.utime(tmp_path, (at, at))
    waiting = Waiting(tmp_path, lambda: at, lambda: 0.0)
    listed: list[Path] = []
    real = names.list_directory

    def count(directory: Path) -> names.Listing:
        listed.append(directory)
        return real(directory)

    monkeypatch.setattr(names, "list_directory", count)
    for _ in range(5):
        waiting.update(found[1:2])
        assert waiting.kept_bytes() == 50
    found[2].path.write_bytes(bytes(40))
    assert waiting.kept_bytes() == 60
    assert len(listed) == 1
    made(tmp_path, [10, 20, 40, 5])
    assert waiting.kept_bytes() == 65


@given(st.lists(st.tuples(st.sets(st.integers(1, 5)), st.sets(st.integers(1, 5))), max_size=6))
def test_what_waited_and_is_gone_is_told_once(
    tmp_path_factory: pytest.TempPathFactory, looks: list[tuple[set[int], set[int]]]
) -> None:
    """Each look is at the segments that are sealed, of which some are archived."""
    found = made(tmp_path_factory.mktemp("waiting"), [1] * 5)
    waiting = Waiting(found[0].path.parent, lambda: 0.0, lambda: 0.0)
    before: set[int] = set()
    for sealed, archived in looks:
        there = [each for each in found if each.number in sealed]
        waiting.update([each for each in there if each.number not in archived])
        gone = [int(path.name[8:14]) for path in waiting.gone(there)]
        assert sorted(gone) == sorted(before - sealed)
        assert [*waiting.gone(there)] == []
        before = sealed - archived
