from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from scripts.faults.shims.build import SOURCES, CannotBuild, build, combined, compiler
from tests.unit.faults.children import needs_compiler


@needs_compiler
def test_libraries_are_built_once_and_again_when_older_than_their_source(tmp_path: Path) -> None:
    first = build(tmp_path)
    made = [library.stat().st_ino for library in first]
    assert build(tmp_path) == first
    assert [library.stat().st_ino for library in first] == made
    os.utime(first.disk, (0, 0))
    build(tmp_path)
    assert first.disk.stat().st_mtime > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clock.so", "disk.so"]


@needs_compiler
@pytest.mark.parametrize("name", ["disk", "clock"])
def test_the_compiler_has_nothing_to_say(tmp_path: Path, name: str) -> None:
    command = [*compiler(), "-O2", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra", "-fPIC", "-c", "-o", str(tmp_path / "out")]
    done = subprocess.run(
        [*command, str(SOURCES / f"{name}.c")], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stderr == ""


def test_a_missing_compiler_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -O1")
    with pytest.raises(CannotBuild, match=r"no-such-compiler not found; run make cc"):
        build(tmp_path)


def test_what_the_compiler_says_is_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "sh -c 'echo it is broken >&2; exit 1'")
    with pytest.raises(CannotBuild, match="it is broken"):
        build(tmp_path)


@pytest.mark.parametrize("name", ["with space", "with:colon"])
def test_a_directory_that_cannot_be_preloaded_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CannotBuild, match="without spaces and colons"):
        build(tmp_path / name)


def test_environments_are_combined() -> None:
    disk = {"LD_PRELOAD": "/d.so", "FAULTS_DISK": "1"}
    clock = {"LD_PRELOAD": "/c.so", "FAULTS_CLOCK": "2"}
    assert combined(disk, {"HOME": "/"}, clock) == {
        "LD_PRELOAD": "/d.so:/c.so",
        "FAULTS_DISK": "1",
        "FAULTS_CLOCK": "2",
        "HOME": "/",
    }
    assert combined({"HOME": "/"}) == {"HOME": "/"}
