"""A set of ids in arrays knows each id that was added, whether it is new or sorted in already."""

from __future__ import annotations

from scripts.faults.compact_ids import FRESH, CompactIds


def test_it_has_what_was_added_and_nothing_else() -> None:
    ids = CompactIds()
    for number in range(2 * FRESH + 100):
        ids.add(f"id-{number}")
    assert all(f"id-{number}" in ids for number in (0, 1, FRESH - 1, FRESH, 2 * FRESH, 2 * FRESH + 99))
    assert not any(f"id-{number}" in ids for number in (2 * FRESH + 100, 2 * FRESH + 101))
    assert "" not in ids
