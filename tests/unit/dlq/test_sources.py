"""The sources of messages: lines are read however they come, and one that is too long harms only itself."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from courier.dlq import sources
from courier.dlq.sending import Numbered, Refused
from courier.dlq.sources import Envelope, of_export, of_lines, open_source, read_lines, repeated
from courier.errors import CannotStart, ConfigError
from courier.message import Attribute
from tests.examples import examples

PLAIN = Envelope("run", "orders", fifo=False)
FIFO = Envelope("run", "orders.fifo", fifo=True, group="g")


def lines_of(pieces: list[bytes]) -> list[tuple[int, bytes | None]]:
    """Read what comes through a pipe in these pieces."""
    reading, writing = os.pipe()

    def write() -> None:
        for piece in pieces:
            os.write(writing, piece)
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        return list(read_lines(reading, "the pipe"))
    finally:
        thread.join()
        os.close(reading)


@run_with(max_examples=examples(300))
@given(st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b" ", b"bc\nd", b"x" * 30, b"\n\n"]), max_size=12))
def test_lines_are_numbered_and_empty_ones_left_out_however_they_come(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    wanted = [(n, line.removesuffix(b"\r")) for n, line in enumerate(text.split(b"\n"), 1) if line.strip()]
    assert lines_of(pieces) == wanted
    assert lines_of([text]) == wanted


@pytest.mark.parametrize("block", [7, 64])
def test_a_line_that_is_too_long_is_named_and_not_held(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(sources, "LONGEST_LINE", 100)
    monkeypatch.setattr(sources, "_BLOCK", block)
    text = b"one\n" + b"x" * 1000 + b"\ntwo\n" + b"y" * 300
    assert lines_of([text]) == [(1, b"one"), (2, None), (3, b"two"), (4, None)]
    found = list(of_lines(lines_of([text]), PLAIN))
    assert [each.number for each in found] == [1, 2, 3, 4]
    assert [type(each) for each in found] == [Numbered, Refused, Numbered, Refused]


def test_an_export_is_sent_with_what_its_lines_say_and_bad_lines_are_named() -> None:
    lines = [
        (1, b'{"body":"skipped"}'),
        (2, b'{"body":"x","group":"g","trace":"t","attributes":{"a":"v"},"original_id":"first"}'),
        (3, b"rubbish"),
        (4, b'{"body":"y"}'),
    ]
    sent, bad, bare = of_export(lines, Envelope("run", "q.fifo", fifo=True), skip=1)
    assert isinstance(sent, Numbered)
    assert isinstance(bare, Numbered)
    assert isinstance(bad, Refused)
    names = [each.name for each in sent.message.attributes]
    assert (sent.message.body, sent.message.group, sent.message.trace, names) == (
        b"x", "g", "t", ["a", "Courier-Redrive-Of"],
    )  # fmt: skip
    assert (bad.number, "not JSON" in bad.reason) == (3, True)
    assert bare.message.group == bare.message.deduplication_id == "run-4"


def test_bodies_are_repeated_with_ids_of_their_own_and_what_was_asked_for() -> None:
    envelope = FIFO.__class__(
        **{**{n: getattr(FIFO, n) for n in FIFO.__slots__}, "attributes": (Attribute("a", "S", "v"),)}
    )
    found = [each.message for each in repeated([b"x", b"y"], 2, envelope)]
    assert [each.body for each in found] == [b"x", b"y", b"x", b"y"]
    assert len({each.deduplication_id for each in found}) == 4
    assert {(each.group, tuple(each.attributes)) for each in found} == {("g", (Attribute("a", "S", "v"),))}
    (plain,) = repeated([b"x"], 1, PLAIN)
    assert (plain.message.group, plain.message.deduplication_id, plain.message.delay) == ("", "", 0)
    (same,) = repeated([b"x"], 1, Envelope("run", "q.fifo", fifo=True, group="g", deduplication_id="mine"))
    assert same.message.deduplication_id == "mine"


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "is a directory")):
        with pytest.raises(ConfigError, match=words):
            open_source(path)
    with pytest.raises(CannotStart, match="cannot read standard input"):
        list(read_lines(os.open(tmp_path, os.O_RDONLY), "standard input"))
