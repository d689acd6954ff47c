"""Python programs that run with shims, and do as they are asked line by line."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import pytest

from scripts.faults.shims.build import compiler

needs_compiler = pytest.mark.skipif(shutil.which(compiler()[0]) is None, reason="needs a C compiler: make cc")

DEADLINE_SECONDS: Final = 60.0

_LOOP = """
import sys
{setup}
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(repr(eval(line)), flush=True)
    except OSError as error:
        print("errno", error.errno, flush=True)
"""


class Child:
    """A Python process that evaluates expressions."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid

    def start(self, expression: str) -> None:
        """Let it evaluate; :meth:`answer` gives the value."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{expression}\n")
        self.process.stdin.flush()

    def answer(self, seconds: float = DEADLINE_SECONDS) -> str:
        """Give the ``repr`` of the value, or ``errno`` and its number; "" if the process died."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], seconds)[0], "no answer"
        return self.process.stdout.readline().strip()

    def ask(self, expression: str) -> str:
        self.start(expression)
        return self.answer()

    def number(self, expression: str) -> float:
        return float(self.ask(expression))


@contextmanager
def child(environment: Mapping[str, str], setup: str) -> Iterator[Child]:
    process = subprocess.Popen(
        [sys.executable, "-c", _LOOP.format(setup=setup)],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        started = Child(process)
        assert started.answer() == "ready"
        yield started
    finally:
        process.kill()
        process.communicate()
