"""Faults and the rows of the table, as values: what is done to whom and when, under which load, with which limits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from scripts.faults.sqs_servers import Kind
from scripts.faults.workload import Workload

KILL_STALL_SECONDS: Final = 2.0
STOP_STALL_SECONDS: Final = 5.0
HANG_TIMEOUT_SECONDS: Final = 10.0
"""What trials give Courier as its ``--hang-timeout``, unless their options say otherwise."""


class NothingHappened(Exception):
    """A fault had nothing to hit, so the trial shows nothing about it."""


class PromiseBroken(Exception):
    """A program did something that it must not do, and that its deliveries alone don't show."""


@dataclass(frozen=True)
class Fault:
    """One fault, which an injector applies to the world of a trial.

    ``what`` names the injector and ``whom`` what it hurts, such as a role. It begins ``at`` seconds after the
    load, and, if it has an end, lasts ``lasts`` seconds. It happens ``times`` times, with pauses of ``every`` seconds.
    ``seed`` decides what is left to chance, and ``detail`` holds what only this injector knows; its values are JSON.

    With ``disturbed``, other faults may strike meanwhile: they may replace a process too, and a program that ends may
    have to cut deliveries.
    """

    what: str
    whom: str = ""
    at: float = 1.0
    lasts: float = 0.0
    times: int = 1
    every: float = 1.0
    seed: int = 0
    detail: dict[str, Any] = field(default_factory=dict)
    disturbed: bool = False


@dataclass(frozen=True)
class Limits:
    """What has to hold in a trial, besides the promise itself: nothing lost, unrecorded, altered or out of order.

    ``stall`` is in seconds. ``receives`` is the most that one message may be charged, ``dead`` how many messages may
    go to the dead-letter queue. None means no limit. Every duplicate has to be explained by a fault.
    """

    stall: float | None = KILL_STALL_SECONDS
    receives: int | None = None
    dead: int | None = 0
    stuck: int = 0


@dataclass(frozen=True)
class Row:
    """A line of the table: a load, faults, and limits.

    ``options`` are Courier's, ``visibility`` is the queue's visibility timeout in seconds, and ``dead_after`` the
    receives after which the queue moves a message to its dead-letter queue. ``programs`` run side by side, with
    ``more_options`` for the second, third and so on. ``settle_seconds`` is how long the queue may take to become empty
    once load and faults have ended. ``struck`` is a second queue of the same program, with its own recipient, load,
    faults and limits: the figures are those of the first queue, and the promise has to hold for both. ``full`` is the
    row in its full length, if that differs.
    """

    name: str
    title: str
    workload: Workload
    faults: tuple[Fault, ...]
    limits: Limits = Limits()
    options: tuple[str, ...] = ()
    visibility: int = 10
    dead_after: int | None = None
    failure_queue: bool = False
    server: Kind = "courier"
    audit: Literal["files", "firehose"] = "files"
    archive: bool = False
    """Whether sealed segments go to an S3 stand-in, ``--audit-archive``."""
    tls: bool = False
    link: bool = False
    """Whether a TCP proxy stands in front of the recipient."""
    clock: bool = False
    """Whether the programs get the shifted clock."""
    credentials: bool = False
    """Whether the programs have temporary credentials from a file."""
    answer_seconds: float = 0.0
    """How long the recipient takes for each answer, unless a fault says otherwise."""
    programs: int = 1
    more_options: tuple[tuple[str, ...], ...] = ()
    settle_seconds: float = 60.0
    unread: bool = False
    """Whether a packet that nobody in the program takes counts for a stall, as a visible message does."""
    struck: Row | None = None
    full: Row | None = None

    @property
    def all_faults(self) -> tuple[Fault, ...]:
        """The faults of this queue, and of the struck one."""
        return self.faults + (self.struck.faults if self.struck is not None else ())

    def seeded(self, seed: int) -> Row:
        """Return the row with another seed for its load and its faults."""
        faults = tuple(replace(fault, seed=fault.seed + seed) for fault in self.faults)
        workload = replace(self.workload, seed=self.workload.seed + seed)
        return replace(self, workload=workload, faults=faults, struck=self.struck and self.struck.seeded(seed))
