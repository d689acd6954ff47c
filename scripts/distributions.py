"""The source distribution and the wheel: ``make dist``. The same source gives the same bytes, whoever builds it.

SOURCE_DATE_EPOCH is the time of every file in them; by default that of the last commit, or without a history that of
the release in CHANGELOG.md. Modes, owners and the order of files don't depend on the machine either.
"""

from __future__ import annotations

import calendar
import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from scripts import write_share

ROOT: Final = Path(__file__).resolve().parents[1]
_RELEASED: Final = re.compile(r"^## \[[^]]+\] - (\d{4}-\d\d-\d\d)$", re.MULTILINE)
_MADE: Final = (".*", "build", "dist", "share", "*.egg-info", "__pycache__", "tests")
"""What a checkout has and the source distribution doesn't."""


def build(target: Path, root: Path = ROOT) -> list[Path]:
    """Write both distributions into ``target`` and return their paths. Older ones of Courier there are removed."""
    now = source_date(root)
    with tempfile.TemporaryDirectory() as directory:
        source, built = Path(directory) / "source", Path(directory) / "built"
        shutil.copytree(root, source, ignore=shutil.ignore_patterns(*_MADE))
        write_share.write(source / "share", now)
        _run_build(source, built, now, "--sdist")
        (packed,) = built.glob("*.tar.gz")
        packed.write_bytes(_normal(packed.read_bytes(), now))
        with tarfile.open(packed) as archive:
            archive.extractall(directory, filter="data")
        _run_build(Path(directory) / packed.name.removesuffix(".tar.gz"), built, now, "--wheel")
        target.mkdir(parents=True, exist_ok=True)
        for old in (*target.glob("courier-*.whl"), *target.glob("courier-*.tar.gz")):
            old.unlink()
        return [Path(shutil.copy(path, target)) for path in sorted(built.iterdir())]


def source_date(root: Path) -> int:
    """Return SOURCE_DATE_EPOCH, or the time of the last commit, or that of the last release."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            return int(asked.stdout)
    released = _RELEASED.search((root / "CHANGELOG.md").read_text())
    if released is None:
        raise SystemExit("CHANGELOG.md: no release has a date; set SOURCE_DATE_EPOCH")
    return calendar.timegm(time.strptime(released[1], "%Y-%m-%d"))


def _run_build(source: Path, target: Path, now: int, kind: str) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(now)}
    command = [sys.executable, "-m", "build", "--no-isolation", kind, f"--outdir={target}", str(source)]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, umask=0o022
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\nmake: the distribution can't be built")


def _normal(packed: bytes, now: int) -> bytes:
    """Return a packed archive with the same files, but nothing in it that tells when and by whom it was packed."""
    plain = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(packed)) as old,
        tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member, content in _members(old):
            executable = member.isdir() or member.mode & 0o100
            member.mtime, member.mode = now, 0o755 if executable else 0o644
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.pax_headers = {}
            new.addfile(member, content)
    return gzip.compress(plain.getvalue(), mtime=0)


def _members(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, io.BytesIO]]:
    for member in sorted(archive.getmembers(), key=lambda each: each.name):
        content = archive.extractfile(member)
        yield member, io.BytesIO(b"" if content is None else content.read())


if __name__ == "__main__":
    for made in build(Path(sys.argv[1])):
        print(made)
