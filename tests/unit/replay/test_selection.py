"""The selection: each message once, in order, up to a fixed end, while the directory is written and compressed."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.audit.filter import Filter
from courier.errors import CannotStart
from courier.replay.candidate import Candidate
from courier.replay.id_set import IdSet
from courier.replay.selection import End, Selection, Stopped, Tally


def line(name: str, body: str = "b", outcome: str = "delivered") -> bytes:
    return f'{{"message_id":"{name}","outcome":"{outcome}","body":"{body}"}}\n'.encode()


def segment(directory: Path, number: int, *lines: bytes) -> Path:
    path = directory / f"courier-{number:06d}-20261125T09{number:02d}00Z.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def chosen(selection: Selection, done: Sequence[str] = (), tally: Tally | None = None) -> list[str]:
    before = IdSet()
    for name in done:
        before.add(name)
    found = [each for each in selection.candidates(before, tally or Tally()) if each is not None]
    return [each.message_id for _, each in found if isinstance(each, Candidate)]


def compress(path: Path) -> None:
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def test_each_message_comes_once_in_the_order_of_the_log(tmp_path: Path) -> None:
    segment(tmp_path, 1, line("a"), line("b"), line("a"))
    segment(tmp_path, 2, line("c"), line("b"))
    tally = Tally()
    assert chosen(Selection(tmp_path), tally=tally) == ["a", "b", "c"]
    assert (tally.records, tally.sendable, tally.repeated) == (5, 3, 2)


def test_a_repeat_whose_body_was_kept_is_sent_though_that_of_the_first_was_not(tmp_path: Path) -> None:
    segment(tmp_path, 1, b'{"message_id":"a","outcome":"delivered"}\n', line("a"))
    tally = Tally()
    assert chosen(Selection(tmp_path), tally=tally) == ["a"]
    assert sum(tally.unsendable.values()) == 1


@given(st.lists(st.sampled_from("abcdefgh"), max_size=20), st.data())
def test_the_end_holds_whatever_is_written_compressed_and_begun_after_it(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("audit")
    cut = data.draw(st.integers(0, len(names)))
    first = segment(directory, 1, *map(line, names[:cut]))
    second = segment(directory, 2, *map(line, names[cut:]), b'{"message_id":"torn","outcome":"deliv')
    selection = replace(Selection(directory), end=Selection(directory).find_end())
    before = chosen(selection)
    assert before == list(dict.fromkeys(names))
    second.write_bytes(second.read_bytes().rpartition(b"\n")[0] + b"\n" * bool(names[cut:]) + line("late"))
    segment(directory, 3, line("later"))
    compress(first)
    compress(second)
    assert chosen(selection) == before


def test_a_directory_without_records_has_an_end_before_all_later_ones(tmp_path: Path) -> None:
    end = Selection(tmp_path).find_end()
    segment(tmp_path, 1, line("late"))
    assert end == End("", 0)
    assert chosen(Selection(tmp_path, end=end)) == []


def test_the_filters_of_grep_choose(tmp_path: Path) -> None:
    segment(tmp_path, 1, *(line(f"m{n}", f"order {n}") for n in range(30)))
    tally = Tally()
    selection = Selection(tmp_path, Filter(text=b"order 2"), ids={"m2", "m21", "m3"})
    assert chosen(selection, tally=tally) == ["m2", "m21"]
    assert tally.records == 2


def test_a_search_is_stopped_before_it_has_found_anything(tmp_path: Path) -> None:
    segment(tmp_path, 1, *(line(f"m{n}") for n in range(30)))
    with pytest.raises(Stopped):
        list(Selection(tmp_path, Filter(text=b"none")).candidates(IdSet(), Tally(), lambda: True))


def test_a_rejected_record_is_chosen_whatever_its_reason(tmp_path: Path) -> None:
    segment(tmp_path, 1, line("a", outcome="rejected: status 422"), line("b", outcome="retry"))
    assert chosen(Selection(tmp_path)) == ["a"]
    assert chosen(Selection(tmp_path, outcomes={"rejected"})) == ["a"]
    assert chosen(Selection(tmp_path, outcomes={"delivered"})) == []


def test_what_was_answered_before_is_counted_and_left_out(tmp_path: Path) -> None:
    segment(tmp_path, 1, line("a"), line("b"), line("c", outcome="rejected"), line("d", outcome="retry"))
    tally = Tally()
    assert chosen(Selection(tmp_path), ["b", "x"], tally) == ["a", "c"]
    assert tally.done == 1


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    path = segment(tmp_path, 1, *(line(f"m{n}") for n in range(1000)))
    compress(path)
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(CannotStart, match=r"cannot read .*courier-000001-"):
        chosen(Selection(tmp_path))


def test_a_link_in_the_place_of_a_segment_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "courier-000001-20261125T090100Z.jsonl").symlink_to("/dev/zero")
    with pytest.raises(CannotStart, match=r"cannot read .*courier-000001"):
        chosen(Selection(tmp_path))
