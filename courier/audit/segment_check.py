"""The check of one segment against its seal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from courier.audit.content import NOTHING, Content, Measured, PackedContent, PlainContent, measure
from courier.audit.seal import Checkpoint
from courier.audit.seal_reading import SealReading, read_seal
from courier.audit.segment import Segment
from courier.audit.trail import CannotRead, Entry, Group, Trail


class SegmentCheck(NamedTuple):
    """What was found about one segment. Pure values, from which :mod:`courier.audit.judgement` makes a verdict.

    ``segment`` and ``entry`` are the file that was read; ``None`` if there is none. ``gone`` is true if it was removed
    after the listing. ``seal`` is ``None`` if there is none. ``measured`` is ``None`` if there was nothing to read, or
    nothing to hold it against. ``size`` is the bytes of the file as it was opened, at least.
    """

    group: Group
    segment: Segment | None
    entry: Entry | None
    gone: bool
    seal: SealReading | None
    measured: Measured | None
    size: int

    @property
    def number(self) -> int:
        """The number that the name of the segment says."""
        return self.group.number

    @property
    def sealed(self) -> Checkpoint:
        """The last checkpoint, all zero without one."""
        return self.seal.checkpoints[-1] if self.seal is not None and self.seal.checkpoints else NOTHING

    @property
    def has_lines(self) -> bool:
        """Whether there is a seal with at least one sound line."""
        return self.seal is not None and self.seal.chain.lines > 0


def check_segment(
    trail: Trail, group: Group, keys: Sequence[Ed25519PublicKey], progress: Callable[[int], None]
) -> SegmentCheck:
    """Read a segment's seal, then the segment up to its last checkpoint. Raise CannotRead.

    In this order, the segment has all that the seal says even if both are being written.
    """
    seal = _read_seal(trail, group, keys)
    if not group.segments or group.segments[0][1].strange:
        return SegmentCheck(group, None, None, False, seal, None, 0)
    segment, entry = group.segments[0]
    if seal is None or not seal.checkpoints or seal.belongs_to != group.stem or seal.number != group.number:
        return SegmentCheck(group, segment, entry, False, seal, None, entry.size)
    try:
        measured, size = _measure(trail, segment, entry, seal, progress)
    except FileNotFoundError:
        return SegmentCheck(group, None, None, True, _short(seal), None, 0)
    return SegmentCheck(group, segment, entry, False, _short(seal), measured, size)


def _short(seal: SealReading) -> SealReading:
    """Return a seal with its last checkpoint alone: the others have had their use, and a trail has many."""
    return seal._replace(checkpoints=seal.checkpoints[-1:])


def _read_seal(trail: Trail, group: Group, keys: Sequence[Ed25519PublicKey]) -> SealReading | None:
    if not group.seals or group.seals[0].strange:
        return None
    entry = group.seals[0]
    try:
        with trail.open(entry) as file:
            return read_seal(file, keys)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _cannot_read(entry, error) from error


def _measure(
    trail: Trail, segment: Segment, entry: Entry, seal: SealReading, progress: Callable[[int], None]
) -> tuple[Measured, int]:
    with trail.open(entry) as file:
        try:
            content: Content = PackedContent(file, segment.packing) if segment.packing else PlainContent(file)
        except ValueError as error:
            raise CannotRead(f"cannot read {entry.where}: {error}") from None
        try:
            measured = measure(content, seal.checkpoints, entry.size if segment.packing else None, progress)
        except OSError as error:
            raise _cannot_read(entry, error) from error
    return measured, max(entry.size, 0 if segment.packing else measured.found + measured.beyond)


def _cannot_read(entry: Entry, error: OSError) -> CannotRead:
    return CannotRead(f"cannot read {entry.where}: {error.strerror or error}; look at the disk and dmesg, or try again")
