"""The demo's processes: started with their output in a file, and always stopped by their pid."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from courier.config.loading import environment_without_options
from courier.errors import EXIT_UNFINISHED, CourierError

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.02
TAIL_LINES: Final = 15
_LISTENING: Final = "listening on "
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None)

# The virtual queue accepts any credentials, but boto3's chain must find some.
_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "demo",
    "AWS_SECRET_ACCESS_KEY": "demo",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class DemoFailed(CourierError):
    """The demo failed; ``tail`` is the end of the output of the program at fault, if there is one."""

    exit_code = EXIT_UNFINISHED

    def __init__(self, reason: str, tail: str = "") -> None:
        super().__init__(reason)
        self.tail = tail


class Program:
    """One process of the demo."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, output: Path) -> None:
        self.name = name
        self.process = process
        self._output = output

    def tail(self) -> str:
        """Return the last lines of the program's output."""
        return "\n".join(self._output.read_text(errors="replace").splitlines()[-TAIL_LINES:])

    def check(self) -> None:
        """Raise DemoFailed if the program has ended."""
        code = self.process.returncode
        if code is not None:
            raise DemoFailed(f"{self.name} ended early, with code {code}", self.tail())

    async def listening(self) -> str:
        """Wait until the program reports its URL, and return the URL. Raise DemoFailed if it doesn't."""
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            for line in self._output.read_text(errors="replace").splitlines():
                if line.startswith(_LISTENING):
                    return line.removeprefix(_LISTENING).strip()
            self.check()
            await asyncio.sleep(POLL_SECONDS)
        raise DemoFailed(f"{self.name} did not listen within {START_SECONDS:g} s", self.tail())

    async def stop(self) -> int:
        """Stop the program, and kill it if it doesn't end within some seconds. Return its exit code."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.terminate()
        try:
            return await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.process.kill()
            return await self.process.wait()


class Programs:
    """All programs of the demo. Leaving the context stops those that still run, the last one first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[Program] = []

    async def __aenter__(self) -> Programs:
        return self

    async def __aexit__(self, *_: object) -> None:
        for program in reversed(self._started):
            await program.stop()

    async def start(self, name: str, *arguments: str) -> Program:
        """Start ``python -m`` with these arguments.

        The program gets its own session: Ctrl-C only reaches the demo, which stops the others in their order.
        """
        output = self._directory / f"{name.replace(' ', '-')}.log"
        environment = environment_without_options() | _CREDENTIALS
        with output.open("wb") as file:
            process = await self._spawn(arguments, file, environment)
        program = Program(name, process, output)
        self._started.append(program)
        return program

    async def _spawn(
        self, arguments: tuple[str, ...], output: IO[bytes], environment: dict[str, str]
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
            preexec_fn=_end_with_the_demo,
        )


def _end_with_the_demo() -> None:
    """Have the kernel send SIGTERM when the demo dies, which may leave it no time to stop its programs."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
