"""Verification: untouched trails are intact, and whatever happens to one is found, with its segment and its range."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.audit.seal import CHECKPOINT, FINAL, STORED
from courier.audit.trail import JOURNAL, LEDGER, CannotRead, DirectoryTrail
from courier.audit.verdicts import Report
from courier.audit.verify import verify
from tests.examples import examples
from tests.unit.audit.sealed_trail import PACK, append, archive, pack, record, retain, write_segment, write_trail

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def verified(directory: Path, *keys: Ed25519PrivateKey) -> Report:
    return verify(DirectoryTrail(directory), [key.public_key() for key in keys], pause=lambda seconds: None)


def kinds(report: Report) -> list[tuple[str, int | None]]:
    return [(one.kind, one.segment) for one in report.evidence]


@pytest.mark.parametrize("key", [None, KEY], ids=["unsigned", "signed"])
@pytest.mark.parametrize("packing", ["", ".zst", ".gz"])
def test_an_untouched_trail_is_intact_and_all_of_it_is_vouched_for(
    tmp_path: Path, key: Ed25519PrivateKey | None, packing: str
) -> None:
    written = write_trail(tmp_path, 5, key=key, packings=[packing, ""])
    report = verified(tmp_path, *([key] if key else []))
    assert report.evidence == []
    assert report.doubts == []
    assert report.segments == report.vouched.segments == 5
    assert report.vouched.records == 5 * 21
    assert report.vouched.bytes == sum(len(one.records) for one in written)
    assert sum(report.signed) == (sum(len(one.seal_lines) for one in written) + 2 * bool(packing) if key else 0)


def test_what_follows_the_last_checkpoint_is_unverifiable(tmp_path: Path) -> None:
    write_trail(tmp_path, 3)
    path = max(tmp_path.glob("*.jsonl"))
    sealed = path.stat().st_size
    path.write_bytes(path.read_bytes() + record(1) + b'{"torn')
    report = verified(tmp_path)
    assert report.evidence == []
    assert [(one.kind, one.segment, one.start, one.end) for one in report.doubts] == [
        ("tail", 3, sealed, path.stat().st_size)
    ]


def test_newest_segments_without_a_seal_are_unverifiable_but_others_are_evidence(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 5)
    for one in written[3:]:
        one.seal.unlink()
    report = verified(tmp_path)
    assert report.evidence == []
    assert [(one.kind, one.segment) for one in report.doubts] == [("no seal", 4), ("no seal", 5)]
    written[1].seal.unlink()
    assert kinds(verified(tmp_path)) == [("unsealed", 2)]
    written[2].seal.write_bytes(b"")
    assert verified(tmp_path).evidence == []


def test_legacy_segments_are_unverifiable_and_the_new_ones_follow_them(tmp_path: Path) -> None:
    for number in (3, 1):
        (tmp_path / f"courier-20250101T00000{number}.000Z-{number:06d}.jsonl").write_bytes(record(number))
    write_trail(tmp_path, 2, begin=4)
    report = verified(tmp_path)
    assert report.evidence == []
    assert [one.kind for one in report.doubts] == ["legacy", "legacy"]
    assert report.segments == 4
    assert report.vouched.segments == 2


@pytest.mark.parametrize("both", [False, True], ids=["records", "with seals"])
def test_swapped_segments_are_evidence_in_both(tmp_path: Path, both: bool) -> None:
    written = write_trail(tmp_path, 5)
    swap(written[1].path, written[3].path)
    if both:
        swap(written[1].seal, written[3].seal)
    assert {2, 4} <= {one.segment for one in verified(tmp_path).evidence}


def swap(one: Path, other: Path) -> None:
    content = one.read_bytes(), other.read_bytes()
    other.write_bytes(content[0])
    one.write_bytes(content[1])


def test_a_missing_segment_is_evidence_and_its_place_in_the_archive_is_said(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 6)
    archive(tmp_path, written[1])
    written[1].path.unlink()
    report = verified(tmp_path)
    assert kinds(report) == [("missing", 2)]
    assert "prefix/2026/11/25/" in report.evidence[0].advice
    written[1].seal.unlink()
    assert kinds(verified(tmp_path)) == [("missing", 2)]
    written[2].path.unlink()
    written[2].seal.unlink()
    report = verified(tmp_path)
    assert kinds(report) == [("missing", 2)]
    assert "2 to 3" in report.evidence[0].what


def test_evidence_is_in_the_order_of_writing(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 6)
    content = bytearray(written[4].path.read_bytes())
    content[10] ^= 1
    written[4].path.write_bytes(content)
    written[1].path.unlink()
    assert kinds(verified(tmp_path)) == [("missing", 2), ("changed", 5)]


def test_missing_first_segments_are_evidence_unless_the_ledger_has_them(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 6)
    shutil.copytree(tmp_path, tmp_path / "retained")
    for one in written[:2]:
        one.path.unlink()
        one.seal.unlink()
    assert kinds(verified(tmp_path)) == [("missing", 2)]
    retained = write_trail(tmp_path / "retained", 6)
    for one in retained[:2]:
        retain(tmp_path / "retained", one)
    assert verified(tmp_path / "retained").evidence == []
    retained[2].path.unlink()
    retained[2].seal.unlink()
    assert kinds(verified(tmp_path / "retained")) == [("missing", 3)]


@pytest.mark.parametrize("unlink", [0, 1, 2])
@pytest.mark.parametrize("key", [None, KEY])
def test_a_kill_between_the_ledger_and_the_removal_is_no_evidence(
    tmp_path: Path, unlink: int, key: Ed25519PrivateKey | None
) -> None:
    written = write_trail(tmp_path, 4, key=key, packings=[".zst"])
    retain(tmp_path, written[0], key)
    retain(tmp_path, written[1], key, unlink)
    assert verified(tmp_path, *([key] if key else [])).evidence == []


def test_a_cut_ledger_accuses_of_what_it_no_longer_says(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 5)
    for one in written[:3]:
        retain(tmp_path, one)
    ledger = tmp_path / LEDGER
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:2]))
    assert kinds(verified(tmp_path)) == [("missing", 3)]


def test_the_newest_segments_are_missed_if_the_journal_knows_them(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 5)
    for one in written[:4]:
        archive(tmp_path, one)
    assert verified(tmp_path).evidence == []
    for one in written[3:]:
        one.path.unlink()
        one.seal.unlink()
    assert kinds(verified(tmp_path)) == [("missing", 4)]


def test_without_the_journal_newest_segments_removed_with_their_seals_are_not_missed(tmp_path: Path) -> None:
    for one in write_trail(tmp_path, 5)[3:]:
        one.path.unlink()
        one.seal.unlink()
    assert verified(tmp_path).evidence == []


def test_a_segment_that_is_not_what_was_archived_is_evidence(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 3, packings=[".gz"])
    archive(tmp_path, written[0])
    assert verified(tmp_path).evidence == []
    again = written[0].path.with_suffix("")
    again.write_bytes(written[0].records)
    written[0].path.unlink()
    assert verified(tmp_path).evidence == []
    (tmp_path / JOURNAL).unlink()
    written[0].path = again
    archive(tmp_path, written[0])
    assert verified(tmp_path).evidence == []
    (tmp_path / JOURNAL).unlink()
    again.write_bytes(written[0].records.replace(b"delivered", b"DELIVERED", 1))
    archive(tmp_path, written[0])
    again.write_bytes(written[0].records)
    assert kinds(verified(tmp_path)) == [("journal", 1)]


def test_a_packed_file_that_has_the_records_but_is_not_the_stored_one_is_evidence(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 3, packings=[".gz"])
    packed = bytearray(written[1].path.read_bytes())
    packed[4] ^= 1  # the time in the header, which unpacking ignores
    written[1].path.write_bytes(packed)
    report = verified(tmp_path)
    assert kinds(report) == [("packed", 2)]
    assert report.evidence[0].raw == (0, len(packed))
    assert "records are intact" in report.evidence[0].what


def test_unsigned_lines_are_right_only_before_the_first_signed_one(tmp_path: Path) -> None:
    first = write_segment(tmp_path, 1, [3, 4])
    second = write_segment(tmp_path, 2, [3, 4], first.final, key=KEY)
    pack(first, ".zst", KEY)
    assert verified(tmp_path, KEY).evidence == []
    write_segment(tmp_path, 3, [3, 4], second.final)
    assert kinds(verified(tmp_path, KEY)) == [("unsigned", 3)]
    assert verified(tmp_path).evidence == []
    write_segment(tmp_path, 3, [3, 4], second.final, key=OTHER)
    assert kinds(verified(tmp_path, KEY)) == [("signature", 3)]
    assert verified(tmp_path, OTHER, KEY).evidence == []


def test_with_a_public_key_a_trail_without_a_signature_is_evidence(tmp_path: Path) -> None:
    write_trail(tmp_path, 3)
    report = verified(tmp_path, KEY)
    assert kinds(report) == [("unsigned", None)]
    assert report.vouched.segments == 0


def test_an_unsigned_ledger_of_a_signed_trail_is_evidence(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 4, key=KEY)
    retain(tmp_path, written[0])
    assert kinds(verified(tmp_path, KEY)) == [("unsigned", None)]


def test_a_number_that_is_there_twice_is_evidence(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 3)
    path = written[1].path.with_name("courier-000002-20261125T235900Z.jsonl")
    path.write_bytes(record(1))
    assert ("number", 2) in kinds(verified(tmp_path))


@pytest.mark.parametrize("what", ["fifo", "link", "directory"])
@pytest.mark.parametrize("suffix", [".jsonl", ".seal", LEDGER, JOURNAL])
def test_a_strange_file_neither_blocks_nor_is_followed(tmp_path: Path, what: str, suffix: str) -> None:
    written = write_trail(tmp_path, 3)
    path = written[1].path.with_suffix(suffix) if suffix.startswith(".") else tmp_path / suffix
    if suffix.startswith("."):
        path.rename(tmp_path / "elsewhere")
    if what == "fifo":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.mkdir()
    evidence = verified(tmp_path).evidence
    assert any(one.file == path.name for one in evidence), evidence


def test_hard_links_are_read_since_a_backup_may_consist_of_them(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 2)
    (tmp_path / "other name").hardlink_to(written[0].path)
    assert verified(tmp_path).vouched.segments == 2


def test_the_copy_of_an_archive_is_verified_in_its_date_folders(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 6, key=KEY, packings=[".zst"], running=False)
    for index, one in enumerate(written):
        archive(tmp_path, one, KEY)
        folder = tmp_path / "2026" / "11" / f"{20 + index // 2}"
        folder.mkdir(parents=True, exist_ok=True)
        one.seal.rename(folder / one.seal.name)
        one.path = one.path.rename(folder / one.path.name)
    report = verified(tmp_path, KEY)
    assert report.evidence == []
    assert report.vouched.segments == 6
    # A lifecycle rule removed the oldest: that is said, and no evidence.
    shutil.rmtree(tmp_path / "2026" / "11" / "20")
    report = verified(tmp_path, KEY)
    assert report.evidence == []
    assert [(one.kind, one.segment) for one in report.doubts] == [("begin", 2)]
    # It came to the segment, but not yet to its seal.
    written[2].path.unlink()
    report = verified(tmp_path, KEY)
    assert report.evidence == []
    assert ("expiring", 3) in [(one.kind, one.segment) for one in report.doubts]
    shutil.rmtree(tmp_path / "2026" / "11" / "22")
    assert kinds(verified(tmp_path, KEY)) == [("missing", 5)]


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CannotRead, match="no segment"):
        verified(tmp_path)
    with pytest.raises(CannotRead, match="--audit-path"):
        verified(tmp_path / "missing")


@pytest.mark.parametrize("packing", [".zst", ".gz"])
def test_a_bomb_is_unpacked_no_further_than_its_seal_says(tmp_path: Path, packing: str) -> None:
    written = write_trail(tmp_path, 3, packings=[packing])
    # 64 GiB of zeros, behind the records and instead of them.
    frame = PACK[packing](bytes(64 * 1024**2)) * 1024
    for bomb in (PACK[packing](written[0].records) + frame, frame):
        written[0].path.write_bytes(bomb)
        (found,) = verified(tmp_path).evidence
        assert (found.segment, found.file) == (1, written[0].path.name)


def test_a_seal_of_garbage_is_read_no_further_than_its_first_line(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 3)
    with written[1].seal.open("wb") as seal:
        seal.truncate(2**40)
    assert [(one.kind, one.segment) for one in verified(tmp_path).evidence] == [("seal", 2)]
    with written[1].seal.open("wb") as seal:
        seal.write(written[1].seal_lines[0])
        seal.truncate(2**40)
    (found,) = verified(tmp_path).evidence
    assert (found.kind, found.start) == ("seal", len(written[1].seal_lines[0]))


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**63), st.floats(allow_nan=False), st.text(), st.lists(st.text())
)


@given(
    fields=st.dictionaries(
        st.sampled_from(
            ["seal", "segment", "file", "previous", "offset", "records", "sha256", "at", "by", "final", "bytes"]
        ),
        VALUES
        | st.sampled_from([FINAL, CHECKPOINT, STORED, "courier-000002-20261125T090200Z.jsonl", "0" * 64, "stored"]),
    ),
    name=st.sampled_from([LEDGER, JOURNAL, "courier-000002-20261125T090200Z.seal"]),
    first=st.booleans(),
)
@settings(max_examples=examples(500))
def test_lines_with_any_fields_that_fit_their_hashes_end_in_a_verdict(
    fields: dict[str, object], name: str, first: bool
) -> None:
    with TemporaryDirectory() as temporary:
        directory = Path(temporary)
        write_trail(directory, 3)
        if first:
            (directory / name).unlink(missing_ok=True)
        append(directory / name, fields, None, None if name.endswith(".seal") and not first else "")
        verified(directory)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_very_many_names_end_in_a_verdict(tmp_path: Path) -> None:
    write_trail(tmp_path, 3)
    for number in range(50_000):
        os.close(os.open(tmp_path / f"courier-{number + 10:06d}-20261125T093000Z.jsonl", os.O_CREAT | os.O_WRONLY))
        os.close(os.open(tmp_path / f"courier-{number + 10:06d}-20261125T093000Z.seal", os.O_CREAT | os.O_WRONLY))
    report = verified(tmp_path)
    assert kinds(report) == [("missing", 4)]
    assert len(report.doubts) == 50_000


@pytest.mark.parametrize("packing", ["", ".zst", ".gz"])
def test_the_torn_end_of_an_abandoned_segment_is_unverifiable(tmp_path: Path, packing: str) -> None:
    first = write_segment(tmp_path, 1, [3, 4], tail=b'{"torn')
    first.path = first.path.rename(first.path.with_suffix(".abandoned.jsonl"))
    write_segment(tmp_path, 2, [3, 4], first.final)
    if packing:
        pack(first, packing)
    report = verified(tmp_path)
    assert report.evidence == []
    assert [(one.kind, one.segment, one.start) for one in report.doubts] == [("abandoned", 1, first.offsets[-1])]
    content = first.path.read_bytes()
    first.path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    report = verified(tmp_path)
    # The end of the plain file is vouched for by nothing, that of the compressed one by the line about the file.
    assert {one.segment for one in report.evidence} == ({1} if packing else set())


def test_a_segment_and_its_seal_written_anew_do_not_fit_between_their_neighbours(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 5)
    write_segment(tmp_path, 3, [7, 5, 8], written[1].final)
    assert kinds(verified(tmp_path)) == [("link", 4)]
    write_segment(tmp_path, 3, [7, 5, 8], "0" * 64)
    assert kinds(verified(tmp_path)) == [("link", 3), ("link", 4)]


def test_a_seal_whose_end_was_cut_off_is_missed_by_the_next_one(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 4)
    lines = written[1].seal_lines
    written[1].seal.write_bytes(b"".join(lines[:-1]))
    (found,) = verified(tmp_path).evidence
    end = sum(map(len, lines[:-1]))
    assert (found.kind, found.segment, found.file, found.start) == ("seal", 2, written[1].seal.name, end)


def test_what_is_found_only_once_is_no_evidence(tmp_path: Path) -> None:
    written = write_trail(tmp_path, 14)
    order = iter(written[1:])
    hidden: list[Path] = []

    def hide_another(seconds: float) -> None:
        # As Courier's own work might look, if each look came at a bad moment for another segment.
        for path in hidden:
            path.rename(path.with_name(path.name.removeprefix("hidden-")))
        path = next(order).path
        hidden[:] = [path.rename(path.with_name(f"hidden-{path.name}"))]

    hide_another(0.0)
    assert verify(DirectoryTrail(tmp_path), pause=hide_another).evidence == []
    assert kinds(verified(tmp_path)) != []
