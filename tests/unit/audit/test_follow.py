from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from courier.audit import blocks, follow
from courier.audit.follow import Follower, last_places
from courier.audit.search import Observer
from tests.examples import examples
from tests.unit.audit.test_search import Noted
from tests.unit.audit.written import Delivery, packed, write


def last(directory: Path, number: int, observer: Observer | None = None) -> list[str]:
    follower = Follower(directory, last_places(directory, number), observer or Observer())
    try:
        shown = [each.fields["message_id"] for each in follower.read()]
    finally:
        follower.close()
    return shown[-number:] if number else []


@given(
    sizes=st.lists(st.integers(0, 5), max_size=5),
    packings=st.lists(st.sampled_from(["", ".zst", ".gz"]), min_size=5, max_size=5),
    number=st.integers(0, 25),
    torn=st.binary(max_size=6).filter(lambda tail: b"\n" not in tail),
    block=st.sampled_from([1, 10, 64 * 1024]),
)
@run_with(max_examples=examples(200))
def test_the_last_records_are_those_that_were_written_last(
    sizes: list[int], packings: list[str], number: int, torn: bytes, block: int
) -> None:
    ids = map(str, itertools.count())
    written = [[next(ids) for _ in range(size)] for size in sizes]
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow, "BACKWARDS", block)
        patch.setattr(blocks, "BLOCK_BYTES", block)
        for place, segment in enumerate(written, 1):
            lines = [Delivery(message_id=each).line() for each in segment]
            newest = place == len(written)
            tail = [torn] if newest else []
            write(Path(name), place, [*lines, *tail], packing="" if newest else packings[place - 1])
        everything = list(itertools.chain.from_iterable(written))
        assert last(Path(name), number) == (everything[-number:] if number else [])


class Writer:
    """Does to a directory what Courier does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.number = 0
        self.ids: list[str] = []
        self.plain: list[Path] = []
        self.rest = b""

    def begin(self) -> None:
        self.number += 1
        self.rest = b""
        self.plain.append(write(self.directory, self.number, []))

    def append(self, size: int) -> None:
        """Append so many records, the last one in two parts."""
        if not self.plain:
            self.begin()
        lines = [Delivery(message_id=f"{len(self.ids) + each}").line() for each in range(size)]
        self.ids += [f"{len(self.ids) + each}" for each in range(size)]
        data = self.rest + b"".join(lines)
        with self.plain[-1].open("ab") as file:
            file.write(data)
        self.rest = b""

    def tear(self) -> None:
        """Append the beginning of a record; the next append completes it."""
        if self.plain and not self.rest:
            line = Delivery(message_id=f"{len(self.ids)}").line()
            with self.plain[-1].open("ab") as file:
                file.write(line[:20])
            self.rest = line[20:]
            self.ids.append(f"{len(self.ids)}")

    def rotate(self) -> None:
        """Begin another segment; a record that was begun is lost, as with a crash."""
        if self.rest:
            self.ids.pop()
        self.begin()

    def compress(self) -> None:
        """Compress the oldest plain segment."""
        if len(self.plain) > 1:
            path = self.plain.pop(0)
            (self.directory / f"{path.name}.zst").write_bytes(packed(path.read_bytes(), ".zst"))
            path.unlink()


@given(steps=st.lists(st.sampled_from(["append", "append", "tear", "rotate", "compress", "read"]), max_size=30))
@run_with(max_examples=examples(200))
def test_each_record_is_followed_once_and_in_order_across_rotation_and_compression(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "audit"
        follower = Follower(directory, [], noted := Noted())
        assert list(follower.read()) == []
        directory.mkdir()
        writer, shown = Writer(directory), []
        for step in [*steps, "append", "read"]:
            if step == "read":
                shown += [each.fields["message_id"] for each in follower.read()]
            elif step == "append":
                writer.append(3)
            else:
                getattr(writer, step)()
        follower.close()
        assert shown == writer.ids
        assert (noted.damage, noted.unread) == ([], [])


def test_what_comes_is_followed_from_the_last_records_on(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append(5)
    follower = Follower(tmp_path, last_places(tmp_path, 2), Observer())
    assert [each.fields["message_id"] for each in follower.read()] == ["3", "4"]
    writer.append(1)
    writer.rotate()
    writer.append(1)
    assert [each.fields["message_id"] for each in follower.read()] == ["5", "6"]
    follower.close()


def test_records_that_a_failed_write_takes_back_are_followed_again_where_they_are_repeated(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append(2)
    follower = Follower(tmp_path, [], noted := Noted())
    assert [each.fields["message_id"] for each in follower.read()] == ["0", "1"]
    os.truncate(writer.plain[-1], len(Delivery(message_id="0").line()))
    assert list(follower.read()) == []
    write(tmp_path, 2, [Delivery(message_id="1").line()])
    assert [each.fields["message_id"] for each in follower.read()] == ["1"]
    follower.close()
    assert noted.damage == []


def test_a_segment_that_was_removed_before_it_was_read_is_reported(tmp_path: Path) -> None:
    paths = [write(tmp_path, number, [Delivery(message_id=f"{number}").line()]) for number in (1, 2, 3)]
    follower = Follower(tmp_path, [], noted := Noted())
    records = follower.read()
    assert next(records).fields["message_id"] == "1"
    paths[1].unlink()
    assert [each.fields["message_id"] for each in records] == ["3"]
    follower.close()
    assert noted.unread == [2]


def test_a_directory_that_is_made_again_is_followed(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    directory.mkdir()
    path = write(directory, 7, [Delivery(message_id="a").line()])
    follower = Follower(directory, [], Observer())
    assert [each.fields["message_id"] for each in follower.read()] == ["a"]
    path.unlink()
    directory.rmdir()
    assert list(follower.read()) == []
    directory.mkdir()
    write(directory, 1, [Delivery(message_id="b").line()], begun="20261124T123200Z")
    assert [each.fields["message_id"] for each in follower.read()] == ["b"]
    follower.close()
