"""A file that gets no more records: it ends at its age too, since only an ended file is archived."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from courier.audit.chain import read_chain_file
from courier.audit.files import AuditFiles
from courier.audit.seal import FINAL
from courier.audit.segment import Segment, segments
from tests.unit.audit.test_files import Clock
from tests.unit.audit.test_reader import line
from tests.waiting import until


def is_final(segment: Segment) -> bool:
    links = read_chain_file(segment.seal, None).links
    return bool(links) and links[-1].fields["seal"] == FINAL


async def test_a_file_ends_at_its_age_or_on_request_without_further_records(tmp_path: Path) -> None:
    clock = Clock()
    files = AuditFiles(tmp_path, 1 << 20, 3600, now=clock, clock=clock)
    files.open_at_once()
    files.append([line("a")])
    clock.seconds += 3599
    files.probe()
    assert files.path is not None
    clock.seconds += 1
    files.probe()
    assert files.path is None
    await until(lambda: is_final(segments(tmp_path)[0]))
    files.append([line("b")])
    files.rotate()
    files.probe()
    assert files.path is None
    files.append([line("c")])
    assert len(segments(tmp_path)) == 3
    files.close()


class LastChore:
    """A chore that notes what is sealed when it is asked to finish."""

    def __init__(self) -> None:
        self.finished: list[tuple[int, float]] = []

    def step(self, sealed: Sequence[Segment], /) -> float:
        return float("inf")

    def finish(self, sealed: object, seconds: float, /) -> None:
        assert callable(sealed)
        self.finished.append((len(sealed()), seconds))


async def test_what_has_something_to_finish_sees_the_last_file_sealed_and_gets_the_time_that_is_left(
    tmp_path: Path,
) -> None:
    chore = LastChore()
    files = AuditFiles(tmp_path, 1 << 20, 3600)
    files.open_at_once(chores=[lambda _: chore], finish_seconds=60)
    files.append([line("a")])
    files.finish(20.0)
    ((count, seconds),) = chore.finished
    assert count == 1
    assert 10 < seconds <= 20
    files.close()
    assert len(chore.finished) == 1
