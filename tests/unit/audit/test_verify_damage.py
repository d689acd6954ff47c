"""Verification: one byte changed, removed or added anywhere in a trail is found, with its segment and its range."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.audit.trail import JOURNAL, LEDGER, DirectoryTrail
from courier.audit.verdicts import Evidence, Report
from courier.audit.verify import verify
from tests.examples import examples
from tests.unit.audit.sealed_trail import Written, archive, record, retain, write_trail

KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SEGMENTS: Final = 10
CASES: Final = 2000
PACKINGS: Final = {"plain": [""], "zstd": [".zst"], "gzip": [".gz"], "mixed": ["", ".zst", ".gz"]}
KINDS: Final = [(packing, key) for packing in PACKINGS for key in (None, KEY)]


class Trail(NamedTuple):
    directory: Path
    written: list[Written]
    key: Ed25519PrivateKey | None

    def verified(self) -> Report:
        keys = [self.key.public_key()] if self.key else []
        return verify(DirectoryTrail(self.directory), keys, pause=lambda seconds: None)


@pytest.fixture(
    scope="module", params=KINDS, ids=[f"{packing}-{'signed' if key else 'unsigned'}" for packing, key in KINDS]
)
def trail(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trail:
    """Ten segments on which retention and the archive have worked. The newest is still written, behind its seal."""
    packing, key = request.param
    directory = tmp_path_factory.mktemp("trail")
    written = write_trail(directory, SEGMENTS + 2, key=key, packings=PACKINGS[packing], groups=(7, 1, 12, 5))
    for one in written[:4]:
        archive(directory, one, key)
    for one in written[:2]:
        retain(directory, one, key)
    newest = written[-1].path
    newest.write_bytes(newest.read_bytes() + record(1) + record(2) + b'{"time":"2026')
    return Trail(directory, written[2:], key)


def test_the_trail_is_intact_before(trail: Trail) -> None:
    report = trail.verified()
    assert report.evidence == []
    assert [one.kind for one in report.doubts] == ["tail"]
    assert report.vouched.segments == SEGMENTS


class Damage(NamedTuple):
    """Damage to a file: what it was and is, and the offset of the first byte that differs."""

    before: bytes
    after: bytes
    at: int


@st.composite
def damages(draw: st.DrawFn, before: bytes) -> Damage:
    kind = draw(st.sampled_from(["flip", "remove", "add"]))
    # The last bytes are rare in a long file, and the most likely to go unnoticed.
    where = st.integers(0, len(before) - 1) | st.integers(max(0, len(before) - 3), len(before) - 1)
    at = draw(where) + (kind == "add" and draw(st.booleans()))
    if kind == "remove":
        after = before[:at] + before[at + 1 :]
    elif kind == "add":
        after = before[:at] + bytes([draw(st.integers(0, 255))]) + before[at:]
    else:
        after = before[:at] + bytes([before[at] ^ draw(st.integers(1, 255))]) + before[at + 1 :]
    length = min(len(before), len(after))
    return Damage(before, after, next((i for i in range(length) if before[i] != after[i]), length))


@contextmanager
def damaged(path: Path, damage: Damage) -> Iterator[None]:
    path.write_bytes(damage.after)
    try:
        yield
    finally:
        path.write_bytes(damage.before)


def check_damage(trail: Trail, data: st.DataObject) -> None:
    written = data.draw(st.sampled_from(trail.written))
    paths = [written.path, written.path, written.seal, trail.directory / LEDGER, trail.directory / JOURNAL]
    path = data.draw(st.sampled_from(paths))
    damage = data.draw(damages(path.read_bytes()))
    with damaged(path, damage):
        report = trail.verified()
    if path != written.path:
        check_chain(report, path, damage, written.number if path == written.seal else None)
    elif written.path.suffix == ".jsonl":
        check_plain(report, written, damage, is_ended=written is not trail.written[-1])
    else:
        check_packed(report, written, damage)


def check_plain(report: Report, written: Written, damage: Damage, *, is_ended: bool) -> None:
    sealed = written.offsets[-1]
    if damage.at >= sealed and not is_ended:
        assert report.evidence == []
        assert [(one.kind, one.segment, one.start) for one in report.doubts] == [("tail", written.number, sealed)]
        return
    found = only(report, written.number, written.path)
    index = bisect_right(written.offsets, damage.at)
    assert found.start == ([0, *written.offsets])[index]
    assert found.end == (written.offsets[index] if damage.at < sealed else len(damage.after))


def check_packed(report: Report, written: Written, damage: Damage) -> None:
    found = only(report, written.number, written.path)
    assert found.start in [0, *written.offsets]
    assert found.end is None or found.end in written.offsets
    assert found.raw is not None
    assert found.raw[0] <= damage.at <= found.raw[1]


def check_chain(report: Report, path: Path, damage: Damage, number: int | None) -> None:
    if damage.at == len(damage.before) and damage.after[-1:] == b"{":
        # A crash may leave the same.
        assert report.evidence == []
        assert ("torn", path.name) in [(one.kind, one.file) for one in report.doubts]
        return
    if damage.after == damage.before[:-1]:
        # So may this, unless a later line shows that the last one was whole once.
        assert ("torn", path.name) in [(one.kind, one.file) for one in report.doubts]
        assert len(report.evidence) <= 1
        return
    found = only(report, number, path)
    starts = [0, *(i + 1 for i, byte in enumerate(damage.after) if byte == 0x0A), len(damage.after)]
    index = max(0, bisect_right(starts, damage.at) - 1)
    assert found.start is not None
    assert found.end is not None
    assert found.start <= damage.at <= found.end
    assert starts[max(0, index - 1)] <= found.start
    assert found.end <= starts[min(index + 1, len(starts) - 1)]


def only(report: Report, number: int | None, path: Path) -> Evidence:
    """Return the evidence, which is about this file and nothing else."""
    assert {(one.segment, one.file) for one in report.evidence} == {(number, path.name)}, report.evidence
    return report.evidence[0]


@given(data=st.data())
@settings(max_examples=examples(CASES // 10 * 100 // 40 // len(KINDS)))
def test_one_damaged_byte_is_found_where_it_is(trail: Trail, data: st.DataObject) -> None:
    check_damage(trail, data)


@pytest.mark.full
@pytest.mark.timeout(600)
@given(data=st.data())
@settings(max_examples=examples(CASES // len(KINDS)))
def test_two_thousand_damaged_bytes_are_found_where_they_are(trail: Trail, data: st.DataObject) -> None:
    check_damage(trail, data)


@given(data=st.data())
@settings(max_examples=examples(10))
def test_reordered_removed_and_repeated_records_are_found(trail: Trail, data: st.DataObject) -> None:
    written = data.draw(st.sampled_from([one for one in trail.written if one.path.suffix == ".jsonl"]))
    before = written.path.read_bytes()
    lines = before.splitlines(keepends=True)
    sealed = before[: written.offsets[-1]].count(b"\n")
    one, other = sorted(data.draw(st.lists(st.integers(0, sealed - 1), min_size=2, max_size=2, unique=True)))
    changed = list(lines)
    kind = data.draw(st.sampled_from(["swap", "remove", "repeat"]))
    if kind == "swap":
        changed[one], changed[other] = lines[other], lines[one]
    elif kind == "remove":
        del changed[one]
    else:
        changed.insert(other, lines[one])
    after = b"".join(changed)
    at = next(i for i in range(len(before) + 1) if before[i : i + 1] != after[i : i + 1])
    with damaged(written.path, Damage(before, after, at)):
        check_plain(trail.verified(), written, Damage(before, after, at), is_ended=written is not trail.written[-1])
