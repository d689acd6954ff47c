from __future__ import annotations

import json
import os
import re
import tempfile
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from courier.audit import blocks
from courier.audit.blocks import READ_ERRORS, listed, open_listed
from courier.audit.record import Rejection
from courier.audit.search import Filter, Found, Observer, search
from courier.audit.segment import Segment, segments
from tests.examples import examples
from tests.unit.audit.written import AT, Delivery, event, packed, write, write_seal

HOSTILE = [
    '"',
    "\\",
    "\n",
    "\0",
    "\x1b[2J",
    "\x7f",
    "\x85",
    "\u2028",
    "\u202e",
    "é",
    "💩",
    "/",
    "\\n",
    "\\x41",
    "\\u0041",
]
WORDS = ["id", "body", '"status":404,', '"body":"', '"body_base64":', '{"time":"', "duration_ms", "=cmd", " ", "a", "b"]

texts = st.lists(st.sampled_from([*HOSTILE, *WORDS]) | st.text(max_size=3), max_size=6).map("".join)
bodies = (
    texts.map(str.encode)
    | st.binary(max_size=12)
    | st.tuples(texts, st.binary(max_size=3)).map(lambda both: both[0].encode() + both[1])
)
deliveries = st.builds(
    Delivery,
    message_id=st.sampled_from(["id-1", "id-2", "id-22", 'a"b']) | texts.map(lambda text: f"x{text}"),
    body=bodies,
    outcome=st.sampled_from(["delivered", "rejected", "rejected: status 404", "rejectedly"]),
    status=st.sampled_from([None, 200, 202, 404, 500, 503]),
    seconds=st.sampled_from([0.0, 0.0099, 0.9999, 1.0, 12.5]),
    at=st.integers(0, 20_000).map(lambda ms: AT + ms / 1000),
    group=st.sampled_from(["", "g", "gg", 'g"', "é"]),
    rejection=st.none() | st.builds(Rejection, texts, texts, texts),
)


class Noted(Observer):
    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.damage: list[tuple[int, int]] = []
        self.unread: list[int] = []
        self.size = 0

    def chosen(self, segments: Sequence[Segment]) -> None:
        self.segments = list(segments)

    def damaged(self, segment: Segment, offset: int, reason: str) -> None:
        self.damage.append((segment.number, offset))

    def unreadable(self, segment: Segment, reason: str) -> None:
        assert reason
        self.unread.append(segment.number)

    def read(self, segment: Segment, size: int) -> None:
        self.size += size


def found(directory: Path, wanted: Filter = Filter(), noted: Noted | None = None) -> list[Found]:  # noqa: B008
    return list(search(directory, wanted, noted))


def ids(directory: Path, wanted: Filter = Filter(), noted: Noted | None = None) -> list[str]:  # noqa: B008
    return [each.fields["message_id"] for each in found(directory, wanted, noted)]


def admits(wanted: Filter, each: Delivery) -> bool:
    """Decide without any of the code that is tested."""
    return (
        (not wanted.message_ids or each.message_id in wanted.message_ids)
        and wanted.text in each.body
        and (wanted.regex is None or bool(wanted.regex.search(each.body.decode("utf-8", "surrogateescape"))))
        and (not wanted.since or each.time >= wanted.since)
        and (not wanted.until or each.time <= wanted.until)
        and (not wanted.statuses or each.status in wanted.statuses)
        and (not wanted.outcomes or each.outcome.split(":")[0] in wanted.outcomes)
        and (not wanted.groups or each.group in wanted.groups)
        and (wanted.slower_than_ms is None or each.seconds * 1000 >= wanted.slower_than_ms)
    )


times = st.just("") | st.integers(0, 20_000).map(lambda ms: Delivery(at=AT + ms / 1000).time)
patterns = st.sampled_from(
    [
        None,
        "id",
        "a.b",
        "(?i)BODY",
        "bod(y|ies)",
        r"\d+",
        "^a",
        "a$",
        "é+",
        "\ud83d",
        r"\x1b\[",
        "(?s)a.b",
        "(a|b)c*",
        "💩",
    ]
).map(lambda source: None if source is None else re.compile(source)) | texts.map(re.escape).map(re.compile)
filters = st.builds(
    Filter,
    message_ids=st.frozensets(st.sampled_from(["id-1", "id-2", 'a"b', "\ud800"]), max_size=2)
    | st.just(frozenset(f"id-{number}" for number in range(20))),
    text=texts.map(str.encode) | st.binary(max_size=3),
    regex=patterns,
    since=times,
    until=times,
    statuses=st.sampled_from([frozenset(), frozenset({404}), frozenset({None, 200}), frozenset(range(500, 600))]),
    outcomes=st.sampled_from([frozenset(), frozenset({"rejected"}), frozenset({"delivered", "rejected"})]),
    groups=st.sampled_from([frozenset(), frozenset({"g"}), frozenset({'g"', "é"})]),
    slower_than_ms=st.sampled_from([None, 0.0, 5.0, 10.0, 999.9, 1000.0]),
)
one_field = st.sampled_from(
    ["message_ids", "text", "regex", "since", "until", "statuses", "outcomes", "groups", "slower_than_ms"]
)


@given(
    written=st.lists(st.lists(deliveries, max_size=6), min_size=1, max_size=3),
    drawn=filters,
    only=st.none() | one_field,
    packing=st.sampled_from(["", ".zst", ".gz"]),
    block=st.sampled_from([1, 7, 100, 256 * 1024]),
    sealed=st.booleans(),
)
@example([[Delivery(body="½".encode())]], Filter(text=b"\xbd"), "text", "", 100, False)
@run_with(max_examples=examples(250))
def test_a_search_finds_what_a_look_at_each_record_finds(
    written: list[list[Delivery]], drawn: Filter, only: str | None, packing: str, block: int, sealed: bool
) -> None:
    wanted = drawn if only is None else Filter(**{only: getattr(drawn, only)})
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", block)
        for number, segment in enumerate(written, 1):
            lines = [each.line() for each in segment]
            path = write(Path(name), number, lines, packing=packing if number < len(written) else "")
            if sealed:
                write_seal(path, lines, checkpoints=range(1, len(lines)), final=number < len(written))
        noted = Noted()
        result = found(Path(name), wanted, noted)
        assert [each.raw for each in result] == [
            each.line() for segment in written for each in segment if admits(wanted, each)
        ]
        assert (noted.damage, noted.unread) == ([], [])
        for each in result:
            before = b"".join(other.line() for other in written[each.segment.number - 1])[: each.offset]
            assert before == b"" or before.endswith(b"\n")


@given(
    written=st.lists(deliveries, min_size=1, max_size=3),
    place=st.tuples(st.integers(0, 2), st.integers(0, 15), st.integers(1, 8)),
    form=st.sampled_from(["json", "text"]),
    as_regex=st.booleans(),
)
@example([Delivery(body=b'say "a"')], (0, 4, 3), "json", False)
@example([Delivery(body=b"\xff binary")], (0, 1, 5), "json", True)
@example([Delivery(body=b"line\nbreak \\ \x1b")], (0, 2, 8), "text", True)
@run_with(max_examples=examples(250))
def test_any_part_of_a_body_is_found_whatever_its_spelling(
    written: list[Delivery], place: tuple[int, int, int], form: str, as_regex: bool
) -> None:
    kept = [
        each for each in written if form == "json" or (" " not in each.message_id and each.message_id.isprintable())
    ]
    body = kept[place[0] % len(kept)].body if kept else b""
    start = place[1] % (len(body) + 1)
    text = body[start : start + place[2]]
    wanted = Filter(text=text)
    if as_regex:
        wanted = Filter(regex=re.compile(re.escape(text.decode("utf-8", "surrogateescape"))))
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), 1, [each.line(form) for each in kept], form=".jsonl" if form == "json" else ".txt")
        assert [each.body for each in found(Path(name), wanted)] == [each.body for each in kept if admits(wanted, each)]


@given(written=st.lists(deliveries, max_size=8), text=texts.map(str.encode) | st.binary(max_size=3), regex=patterns)
@example([Delivery(body=b"\\x41")], b"A", None)
@run_with(max_examples=examples(200))
def test_so_it_does_in_rows_of_text(written: list[Delivery], text: bytes, regex: re.Pattern[str] | None) -> None:
    plain = [each for each in written if " " not in each.message_id and each.message_id.isprintable()]
    wanted = Filter(text=text, regex=regex)
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), 1, [each.line("text") for each in plain], form=".txt")
        assert [each.body for each in found(Path(name), wanted)] == [
            each.body for each in plain if admits(wanted, each)
        ]


@given(body=st.binary(max_size=8), text=st.binary(min_size=1, max_size=2))
def test_rows_of_the_first_version_are_found_by_the_body_that_they_are_read_as(body: bytes, text: bytes) -> None:
    """It escaped line ends alone."""
    row = b"id " + body.replace(b"\r", b"\\r").replace(b"\n", b"\\n") + b"\n"
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), 1, [row], form=".txt")
        [whole] = found(Path(name))
        assert whole.body is not None
        assert bool(found(Path(name), Filter(text=text))) == (text in whole.body)


@given(written=st.lists(deliveries, max_size=4), kept=st.sampled_from(["sha256", "none"]), wanted=filters)
def test_a_record_without_its_body_matches_no_filter_on_it(written: list[Delivery], kept: str, wanted: Filter) -> None:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), 1, [each.line(kept=kept) for each in written])
        result = ids(Path(name), wanted)
    if wanted.text or wanted.regex:
        assert result == []
    else:
        assert result == [each.message_id for each in written if admits(wanted, each)]


def test_an_event_is_a_record_with_its_own_outcome(tmp_path: Path) -> None:
    write(tmp_path, 1, [event(message_id="a", outcome="retry", status=503), event(message_id="b", outcome="duplicate")])
    assert ids(tmp_path, Filter(outcomes=frozenset({"duplicate"}))) == ["b"]
    assert ids(tmp_path, Filter(statuses=frozenset({503}))) == ["a"]
    # The second has no status at all, which isn't the same as an attempt without an answer.
    assert ids(tmp_path, Filter(statuses=frozenset({None}))) == []


@pytest.mark.parametrize("packing", ["", ".zst", ".gz"])
def test_a_segment_out_of_range_is_left_out_if_its_seal_vouches_for_all_of_it(tmp_path: Path, packing: str) -> None:
    for number, second in enumerate((0, 60, 120), 1):
        lines = [Delivery(message_id=f"{number}", at=AT + second + ms / 10).line() for ms in range(10)]
        write_seal(write(tmp_path, number, lines, packing=packing), lines)
    noted = Noted()
    assert set(ids(tmp_path, Filter(since=Delivery(at=AT + 60).time, until=Delivery(at=AT + 70).time), noted)) == {"2"}
    assert [segment.number for segment in noted.segments] == [2]


def test_a_segment_that_grew_after_its_seal_is_read(tmp_path: Path) -> None:
    lines = [Delivery(message_id="old").line()]
    path = write(tmp_path, 1, lines)
    write_seal(path, lines)
    path.write_bytes(path.read_bytes() + Delivery(message_id="new", at=AT + 60).line())
    assert ids(tmp_path, Filter(since=Delivery(at=AT + 30).time)) == ["new"]


@pytest.mark.parametrize(
    "damage", [lambda seal: seal[:-2], lambda seal: seal.replace(b'"first"', b'"fIrst"'), lambda _: b""]
)
def test_a_seal_that_does_not_fit_leaves_out_nothing(tmp_path: Path, damage: object) -> None:
    lines = [Delivery(message_id="a").line()]
    seal = write_seal(write(tmp_path, 1, lines), lines)
    assert callable(damage)
    seal.write_bytes(damage(seal.read_bytes()))
    noted = Noted()
    assert ids(tmp_path, Filter(since=Delivery(at=AT + 30).time), noted) == []
    assert len(noted.segments) == 1


def test_what_lies_before_a_checkpoint_of_earlier_times_is_not_read(tmp_path: Path) -> None:
    lines = [Delivery(message_id=f"{second}", at=AT + second).line() for second in range(100)]
    write_seal(write(tmp_path, 1, lines), lines, checkpoints=[50, 90], final=False)
    noted = Noted()
    assert ids(tmp_path, Filter(since=Delivery(at=AT + 95).time), noted) == [f"{second}" for second in range(95, 100)]
    assert noted.size == sum(map(len, lines[90:]))


def test_an_offset_that_is_no_beginning_of_a_line_is_not_trusted(tmp_path: Path) -> None:
    lines = [Delivery(message_id=f"{second}", at=AT + second).line() for second in range(10)]
    path = write(tmp_path, 1, lines)
    write_seal(path, lines, checkpoints=[5], final=False)
    path.write_bytes(b"".join(lines)[3:])
    noted = Noted()
    assert ids(tmp_path, Filter(since=Delivery(at=AT + 8).time), noted) == ["8", "9"]


def test_the_rows_of_a_segment_have_its_time(tmp_path: Path) -> None:
    for number, begun in enumerate(("20261124T100000Z", "20261124T110000Z", "20261124T120000Z"), 1):
        write(tmp_path, number, [Delivery(message_id=f"{number}").line("text")], form=".txt", begun=begun)
    assert ids(tmp_path, Filter(since="2026-11-24T11:30:00.000Z")) == ["2", "3"]
    assert ids(tmp_path, Filter(until="2026-11-24T11:30:00.000Z")) == ["1", "2"]
    assert ids(tmp_path, Filter(statuses=frozenset({200}))) == []


def test_rows_from_before_the_clock_was_set_back_are_not_left_out(tmp_path: Path) -> None:
    for number, begun in enumerate(("20261124T100000Z", "20261124T093000Z", "20261124T120000Z"), 1):
        write(tmp_path, number, [Delivery(message_id=f"{number}").line("text")], form=".txt", begun=begun)
    assert ids(tmp_path, Filter(since="2026-11-24T10:15:00.000Z", until="2026-11-24T10:20:00.000Z")) == ["1", "2"]
    assert ids(tmp_path, Filter(since="2026-11-24T12:30:00.000Z")) == ["1", "3"]


def test_damage_is_reported_and_the_search_goes_on(tmp_path: Path) -> None:
    good = [Delivery(message_id=f"{number}", body=b"needle").line() for number in range(3)]
    damaged = [good[0], b"\0" * 40 + good[1], good[1], b'{"needle', b"\n", good[2], good[2][:20]]
    write(tmp_path, 1, damaged)
    noted = Noted()
    assert ids(tmp_path, Filter(text=b"needle"), noted) == ["0", "1", "2"]
    first = len(good[0])
    assert noted.damage == [(1, first), (1, first + 40 + 2 * len(good[1]))]


@pytest.mark.parametrize("fields", [
    {"time": 1}, {"message_id": None}, {"body": 5}, {"body_base64": "!"}, {"body_base64": 5}, {"status": "200"},
    {"status": True}, {"duration_ms": "1"}, {"group": []}, {"outcome": {}},
])  # fmt: skip
def test_a_field_of_the_wrong_type_is_damage(tmp_path: Path, fields: dict[str, object]) -> None:
    write(tmp_path, 1, [event(**fields), event(message_id="after")])
    noted = Noted()
    assert ids(tmp_path, noted=noted) == ["after"]
    assert noted.damage == [(1, 0)]


def test_a_line_without_an_end_takes_no_more_memory_than_the_longest_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "LONGEST_LINE", 10_000)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1000)
    good = Delivery(message_id="after").line()
    write(tmp_path, 1, [good, b"x" * 50_000, b"\n", good, b"x" * 50_000])
    noted = Noted()
    assert ids(tmp_path, noted=noted) == ["after", "after"]
    assert noted.damage == [(1, len(good)), (1, 2 * len(good) + 50_001)]


@pytest.mark.parametrize("packing", [".zst", ".gz"])
@pytest.mark.parametrize("kind", ["cut", "flipped"])
def test_a_damaged_compressed_segment_is_named_and_the_search_goes_on(tmp_path: Path, packing: str, kind: str) -> None:
    lines = [Delivery(message_id=f"{number}").line() for number in range(500)]
    path = write(tmp_path, 1, lines, packing=packing)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + (b"" if kind == "cut" else bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]))
    write(tmp_path, 2, [Delivery(message_id="next").line()])
    noted = Noted()
    assert ids(tmp_path, noted=noted)[-1] == "next"
    assert noted.unread == [1] or noted.damage


def test_strange_files_are_not_waited_for(tmp_path: Path) -> None:

    write(tmp_path, 1, [Delivery(message_id="a").line()])
    os.mkfifo(tmp_path / "courier-000002-20261124T123140Z.jsonl")
    (tmp_path / "courier-000003-20261124T123140Z.jsonl").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "courier-000001-20261124T123140Z.seal")
    noted = Noted()
    assert ids(tmp_path, Filter(since=Delivery().time), noted) == ["a"]
    assert noted.unread == [2, 3]


def test_a_segment_that_is_compressed_or_abandoned_after_the_listing_is_read_all_the_same(tmp_path: Path) -> None:
    first = write(tmp_path, 1, [Delivery(message_id="a").line()])
    second = write(tmp_path, 2, [Delivery(message_id="b").line()])
    write(tmp_path, 3, [Delivery(message_id="c").line()]).rename(tmp_path / "removed")
    third = write(tmp_path, 4, [Delivery(message_id="d").line()])
    results = search(tmp_path, Filter())
    assert next(results).fields["message_id"] == "a"
    (tmp_path / (second.name + ".zst")).write_bytes(packed(second.read_bytes(), ".zst"))
    for path in (first, second):
        path.unlink()
    third.rename(third.with_suffix(".abandoned.jsonl"))
    assert [each.fields["message_id"] for each in results] == ["b", "d"]


def test_a_segment_that_retention_removes_is_no_error(tmp_path: Path) -> None:
    write(tmp_path, 1, [Delivery(message_id="a").line()])
    second = write(tmp_path, 2, [Delivery(message_id="b").line()])
    write(tmp_path, 3, [Delivery(message_id="c").line()])
    noted = Noted()
    results = search(tmp_path, Filter(), noted)
    assert next(results).fields["message_id"] == "a"
    second.unlink()
    assert [each.fields["message_id"] for each in results] == ["c"]
    assert noted.unread == []


def test_a_missing_directory_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        found(tmp_path / "none")


def test_the_fields_of_a_record_are_those_of_its_line(tmp_path: Path) -> None:
    write(tmp_path, 1, [Delivery(body=b"\xff\0", group="g").line()])
    [only] = found(tmp_path)
    assert only.fields == json.loads(only.raw)
    assert only.body == b64decode(only.fields["body_base64"]) == b"\xff\0"
    assert open_listed(tmp_path, listed(tmp_path)[0]) is not None
    assert segments(tmp_path) == listed(tmp_path)
    assert OSError in READ_ERRORS
