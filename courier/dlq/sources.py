"""The sources of messages to send: bodies of the command line, lines of standard input, lines of an export."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from courier.dlq.line import SavedMessage, read_line
from courier.dlq.sending import Numbered, Refused
from courier.errors import CannotStart, ConfigError
from courier.message import Attribute
from courier.sqs.batch import Outgoing

STDIN: Final = 0
LONGEST_LINE: Final = 16 * 1024**2
"""Bytes of a line: a body of 1 MiB has at most six for each of its bytes, and attributes are part of that size."""

_BLOCK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a message is sent with besides its body. ``run_id`` makes the ids of one run distinct."""

    run_id: str
    queue: str
    fifo: bool
    attributes: tuple[Attribute, ...] = ()
    group: str = ""
    deduplication_id: str = ""
    delay: int = 0

    def seal(self, number: int, body: bytes) -> Numbered:
        """Return a message with this body."""
        return Numbered(number, self._outgoing(number, body, self.attributes, self.group, ""))

    def seal_saved(self, number: int, saved: SavedMessage) -> Numbered:
        """Return a message as a line of an export holds it."""
        attributes = saved.attributes_for(self.queue)
        return Numbered(number, self._outgoing(number, saved.body, attributes, saved.group, saved.trace))

    def _outgoing(self, number: int, body: bytes, attributes: Sequence[Attribute], group: str, trace: str) -> Outgoing:
        # Made anew in each run: within five minutes of another one SQS would take the message and drop it.
        own_id = f"{self.run_id}-{number}"
        return Outgoing(
            body,
            attributes,
            group or (own_id if self.fifo else ""),
            (self.deduplication_id or own_id) if self.fifo else "",
            trace,
            self.delay,
        )


def repeated(bodies: Sequence[bytes], count: int, envelope: Envelope) -> Iterator[Numbered]:
    """Yield all bodies, ``count`` times."""
    number = 0
    for _ in range(count):
        for body in bodies:
            number += 1
            yield envelope.seal(number, body)


def of_lines(lines: Iterable[tuple[int, bytes | None]], envelope: Envelope) -> Iterator[Numbered | Refused]:
    """Yield a message for each line, whose body it is."""
    return _each(lines, envelope.seal)


def of_export(
    lines: Iterable[tuple[int, bytes | None]], envelope: Envelope, skip: int = 0
) -> Iterator[Numbered | Refused]:
    """Yield the messages of the lines of an export, without the first ``skip`` lines."""

    def seal(number: int, line: bytes) -> Numbered | Refused:
        try:
            return envelope.seal_saved(number, read_line(line))
        except ValueError as error:
            return Refused(number, str(error))

    return _each(((number, line) for number, line in lines if number > skip), seal)


def _each(
    lines: Iterable[tuple[int, bytes | None]], seal: Callable[[int, bytes], Numbered | Refused]
) -> Iterator[Numbered | Refused]:
    for number, line in lines:
        yield seal(number, line) if line is not None else Refused(number, "it is longer than a message can be")


def open_source(path: Path) -> int:
    """Return a descriptor of the file of ``--from``, which may be a pipe; raise ConfigError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"--from: cannot read {path}: {error.strerror}; give a file of dlq export") from None
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        raise ConfigError(f"--from: {path} is a directory; give a file of dlq export")
    return fd


def read_lines(fd: int, name: str) -> Iterator[tuple[int, bytes | None]]:
    """Yield number and text of each line that isn't empty; ``None`` for one that is too long to hold.

    It reads the descriptor itself: the lock of a file object that a thread reads would keep the program from ending.
    """
    number, rest, is_too_long = 0, b"", False
    while block := _read(fd, name):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            number += 1
            if is_too_long or line.strip():
                yield number, None if is_too_long else line.removesuffix(b"\r")
            is_too_long = False
        if is_too_long or len(rest) > LONGEST_LINE:
            is_too_long, rest = True, b""
    if is_too_long or rest.strip():
        yield number + 1, None if is_too_long else rest


def _read(fd: int, name: str) -> bytes:
    try:
        return os.read(fd, _BLOCK)
    except OSError as error:
        raise CannotStart(f"cannot read {name}: {error.strerror}; give a file of lines, or -") from None
