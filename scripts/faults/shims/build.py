"""The libraries that a program under test is run with (LD_PRELOAD), compiled from C when they are first needed."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

SOURCES: Final = Path(__file__).parent

BUILD: Final = SOURCES.parents[2] / "build" / "faults"
"""Where the libraries are kept if nothing else is asked for."""

_FLAGS: Final = ("-O2", "-U_FORTIFY_SOURCE", "-fPIC", "-shared", "-Wall", "-Wextra")
_COMPILE_SECONDS: Final = 120.0


class CannotBuild(Exception):
    """The shims can't be compiled or loaded here; the text says why, and how to fix it."""


class Shims(NamedTuple):
    """The compiled libraries."""

    disk: Path
    clock: Path


def compiler() -> list[str]:
    """Return the command of the C compiler: ``$CC``, or ``cc``."""
    return shlex.split(os.environ.get("CC") or "cc")


def build(directory: Path = BUILD) -> Shims:
    """Compile what is missing in the directory or older than its source; raise CannotBuild.

    Several processes may call it at once.
    """
    directory = directory.resolve()
    if any(character.isspace() or character == ":" for character in str(directory)):
        raise CannotBuild(f"LD_PRELOAD can't name a file in {str(directory)!r}: use a path without spaces and colons")
    directory.mkdir(parents=True, exist_ok=True)
    changed = max(path.stat().st_mtime_ns for path in SOURCES.glob("*.[ch]"))
    shims = Shims(directory / "disk.so", directory / "clock.so")
    for library in shims:
        if not library.exists() or library.stat().st_mtime_ns < changed:
            _compile(SOURCES / f"{library.stem}.c", library)
    return shims


def combined(*environments: Mapping[str, str]) -> dict[str, str]:
    """Merge environments into one that loads the shims of all of them."""
    merged = {name: value for environment in environments for name, value in environment.items()}
    libraries = [environment["LD_PRELOAD"] for environment in environments if environment.get("LD_PRELOAD")]
    if libraries:
        merged["LD_PRELOAD"] = ":".join(libraries)
    return merged


def _compile(source: Path, library: Path) -> None:
    # Renamed when it is whole: another process may load it at any time.
    with tempfile.TemporaryDirectory(dir=library.parent) as directory:
        result = Path(directory) / library.name
        command = [*compiler(), *_FLAGS, "-o", str(result), str(source), "-ldl"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)
        except FileNotFoundError:
            raise CannotBuild(
                f"no C compiler: {command[0]} not found; run make cc, or set CC (Debian and Ubuntu: "
                "apt-get install gcc libc6-dev)"
            ) from None
        if done.returncode != 0:
            raise CannotBuild(f"{shlex.join(command)} failed:\n{done.stderr.strip()}")
        result.replace(library)
