"""The CPU time below Python, by perf(1): the kernel by system call, user code by library."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

FREQUENCY: Final = 997
"""Samples a second of CPU; not a divisor of the kernel's tick, nor of events in step with it."""

_HEADER: Final = re.compile(r"(?P<name>\S.*?)\s+(?P<pid>\d+)\s*$")
_ENTRY: Final = re.compile(r"\s+[0-9a-f]+ (?P<symbol>.+) \((?P<library>[^()]*|\[[^\]]*\])\)$")
_SYSCALL: Final = re.compile(r"^(?:__x64_sys_|__se_sys_|__do_sys_|ksys_|__sys_|do_sys_)(?P<name>\w+)")

_ENTRY_WORK: Final = {"exit_to_user_mode_loop": "scheduling, signals"}


class Sample(NamedTuple):
    """One sample: its process, and its stack of (symbol, library), innermost first."""

    pid: int
    stack: list[tuple[str, str]]


def available(directory: Path) -> bool:
    """Return whether perf is installed and allowed here."""
    if shutil.which("perf") is None:
        return False
    command = ["perf", "record", "-q", "-e", "cpu-clock", "-g", "-o", str(directory / "try.data"), "true"]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


class Recording:
    """A recording of some processes with perf."""

    def __init__(self, pids: Iterable[int], directory: Path) -> None:
        self._data = directory / "perf.data"
        command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "--call-graph", "fp"]
        command += ["-o", str(self._data), "-p", ",".join(map(str, pids))]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> list[Sample]:
        """Stop the recording, and return its samples."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        command = ["perf", "script", "-i", str(self._data), "-F", "comm,pid,ip,sym,dso"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
        return list(read_script(shown.stdout))


def read_script(text: str) -> Iterator[Sample]:
    """Parse the output of ``perf script``."""
    for block in text.split("\n\n"):
        lines = block.strip("\n").splitlines()
        header = _HEADER.match(lines[0]) if lines else None
        if header is not None:
            entries = [(m["symbol"], m["library"]) for m in map(_ENTRY.match, lines[1:]) if m]
            yield Sample(int(header["pid"]), entries)


def place(sample: Sample) -> str:
    """Return the place of a sample: ``kernel: NAME`` of a system call, or ``user: LIBRARY``."""
    if not sample.stack:
        return "unknown"
    if sample.stack[0][1] != "[kernel.kallsyms]":
        return f"user: {_library(sample.stack[0][1])}"
    symbols = [symbol for symbol, library in sample.stack if library == "[kernel.kallsyms]"]
    for inner, outer in itertools.pairwise(symbols):
        if outer == "do_syscall_64":
            match = _SYSCALL.match(inner)
            return f"kernel: {match['name'] if match else _ENTRY_WORK.get(inner, inner)}"
    return f"kernel: {'page faults' if any('exc_page_fault' in s for s in symbols) else 'interrupts and the rest'}"


def count_places(samples: Iterable[Sample]) -> Counter[str]:
    """Count the samples of each place."""
    return Counter(map(place, samples))


def _library(path: str) -> str:
    """Return the name of a library without its version; with its package if the name alone says little."""
    name = os.path.basename(path).partition(".")[0]
    for package in ("uvloop", "httptools", "orjson"):
        if f"/{package}/" in path:
            return package
    return name
