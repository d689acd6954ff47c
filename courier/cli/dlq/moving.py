"""What the commands that move dead letters share: options, the dry run, the run, and what is said afterwards."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from courier.cli import EXIT_INTERRUPTED
from courier.cli.audit.output import Notes
from courier.cli.dlq.filters import (
    filter_options,
    queue_argument,
    service_options,
)
from courier.cli.dlq.output import Counter, say, say_what_was_seen
from courier.cli.dlq.wanted import find_wanted
from courier.cli.options import option, shared_options
from courier.config.units import PATH, number, or_off, per_second, seconds
from courier.dlq.audit_reasons import AuditReasons, Stopped
from courier.dlq.carrier import Carrier
from courier.dlq.choice import Choice
from courier.dlq.dead_letter import DeadLetter
from courier.dlq.look import FEW, Seen, look
from courier.dlq.move_log import MoveLog
from courier.dlq.move_record import MoveRecorder
from courier.dlq.mover import Mover
from courier.dlq.returns import COUNT_LATE_SECONDS, Returns
from courier.dlq.scan import VISIBILITY_SECONDS, Scan, letter_of, why_unseen
from courier.dlq.session import Session, run_session
from courier.errors import (
    EXIT_CANNOT_START,
    EXIT_DRAINED,
    AuditError,
    CannotStart,
    CourierError,
    SqsError,
    require_linux,
)
from courier.lease import MAX_HIDDEN_SECONDS
from courier.message import Message
from courier.replay.progress import ProgressBar
from courier.replay.run_file import new_run_id
from courier.sqs.address import is_aws
from courier.sqs.advice import advice
from courier.sqs.client import SqsClient
from courier.sqs.queue import QueueInfo
from courier.terminal.dead_letter_moves import Plan, result

EXIT_SOME_LEFT = 1
LATE_ELSEWHERE_SECONDS = 5.0
"""How late the counts of a server that isn't AWS's may be."""


@dataclass(frozen=True)
class Moving:
    """A command that moves dead letters: its name, the participle of what it does, and how it carries them.

    ``record`` makes the lines of its audit log from the name of the queue and the value of --audit-body.
    """

    command: str
    participle: str
    carrier: Callable[[Session, QueueInfo, Callable[[], bool]], Awaitable[Carrier]]
    record: Callable[[str, str], MoveRecorder]
    watches_returns: bool = False


def moving_parameters(command: str, *own: click.Parameter) -> list[click.Parameter]:
    """Return the parameters of a command that moves dead letters; ``own`` are those that no other has."""
    return [
        queue_argument(),
        *own,
        click.Option(["--yes"], is_flag=True, help="Do it. Without it, only count and show samples."),
        *filter_options(),
        option("--limit", "limit", or_off(number(1, 10**9)), None, f"Maximum number of dead letters to {command}."),
        option(
            "--rate",
            "rate",
            or_off(per_second(100_000, "RATE")),
            None,
            f"Maximum dead letters to {command} per second.",
        ),
        option(
            f"--{command}-audit",
            "records",
            PATH,
            None,
            f"Directory of the command's own audit log.  [default: {command}-TIME in this directory]",
        ),
        *shared_options("audit_body"),
        option(
            "--visibility-timeout",
            "visibility",
            seconds(2, MAX_HIDDEN_SECONDS, whole=True),
            VISIBILITY_SECONDS,
            "How long SQS hides a received message at first. A killed command leaves messages hidden that long.",
        ),
        *service_options(),
    ]


def move(
    moving: Moving,
    queue_name: str,
    region: str | None,
    endpoint_url: str | None,
    audit_path: Path | None,
    yes: bool,
    limit: int | None,
    rate: float | None,
    records: Path | None,
    audit_body: str,
    visibility: int,
    **values: Any,
) -> int:
    """Show what would be moved, or move it; return the exit code."""
    if yes:
        require_linux(f"courier dlq {moving.command} --yes")
    name = f"dlq {moving.command}"
    found, choice, audit_path = find_wanted(name, queue_name, region, endpoint_url, audit_path, values)
    if not moving.watches_returns and audit_body != "full":
        # The setting may be that of the whole program, given for other records.
        say(name, f"--audit-body is {audit_body}: what is dropped leaves no body, and can't be brought back")
    notes = Notes(moving.command, "courier dlq")

    async def run(session: Session) -> int:
        reasons = AuditReasons(audit_path, notes)
        run = _Run(session, found, choice, reasons, limit, moving)
        try:
            if yes:
                directory = records or Path(f"{moving.command}-{new_run_id()}")
                return await run.move(rate, visibility, directory, moving.record(found.name, audit_body))
            return await run.show()
        except SqsError as error:
            raise CannotStart(f"{error}; {advice(error)}") from None
        finally:
            reasons.close()
            notes.clear()

    return run_session(run)


class _Run:
    def __init__(
        self,
        session: Session,
        queue: QueueInfo,
        choice: Choice,
        reasons: AuditReasons,
        limit: int | None,
        moving: Moving,
    ) -> None:
        self._session = session
        self._queue = queue
        self._choice = choice
        self._reasons = reasons
        self._limit = limit
        self._moving = moving
        self._name = f"dlq {moving.command}"

    async def show(self) -> int:
        """Count what would be moved, and show samples."""
        session, verb = self._session, self._moving.participle
        plan = Plan(await self._moving.carrier(session, self._queue, session.stopped.is_set))
        counter = Counter("found")

        def act(letters: Sequence[DeadLetter]) -> None:
            plan.add(letters)
            counter.show(plan.moved.chosen)

        try:
            seen = await look(session, self._queue, self._choice, self._reasons, act, self._limit)
        finally:
            counter.clear()
        for line in plan.lines(self._queue.name, verb, time.time()):
            click.echo(line)
        click.echo(f"nothing was {verb}; add --yes to do it" if plan.moved.chosen else f"nothing can be {verb}")
        is_stopped = session.stopped.is_set()
        say_what_was_seen(self._name, seen, limited=is_stopped or seen.chosen == self._limit)
        return EXIT_INTERRUPTED if is_stopped else EXIT_DRAINED

    async def move(self, rate: float | None, visibility: int, directory: Path, record: MoveRecorder) -> int:
        """Move what is chosen."""
        client = self._session.client(self._queue)
        mover: Mover | None = None
        carrier = await self._moving.carrier(
            self._session, self._queue, lambda: mover is not None and mover.is_stopping
        )
        scan = Scan(client, visibility=visibility)
        try:
            log = MoveLog(directory)
        except CannotStart as error:
            raise CannotStart(self._with_own_option(str(error))) from None
        bar = await self._bar(client)
        async with log:
            mover = Mover(
                scan,
                carrier,
                log,
                record,
                self._read,
                self._choice.admits,
                limit=self._limit,
                frugal=self._limit is not None and self._limit <= FEW and self._choice.takes_all,
                rate=rate,
                returns=self._returns(),
                count=client.depth,
                say=lambda line: say(self._name, line),
                show=bar.show,
            )

            def stop() -> None:
                mover.stop()
                self._reasons.stop()

            self._session.when_stopped(stop)
            try:
                async with scan:
                    await mover.run()
                    unseen = why_unseen(scan.left, scan.held_then, fifo=self._queue.fifo)
            finally:
                bar.close()
                bar.restore()
        return self._report(mover, carrier, scan, unseen, log)

    def _report(self, mover: Mover, carrier: Carrier, scan: Scan, unseen: Sequence[str], log: MoveLog) -> int:
        moved, is_stopped = mover.moved, self._session.stopped.is_set()
        for line in result(moved, self._moving.participle, carrier.maybe_twice):
            click.echo(line)
        if log.lines:
            click.echo(f"audit log: {log.directory}")
        seen = Seen(
            seen=scan.seen - moved.moved,
            chosen=moved.chosen,
            undecided=self._choice.undecided,
            corrupt=scan.corrupt,
            stays_hidden=scan.stays_hidden,
            longest_hidden=scan.longest_hidden,
            unseen=unseen,
            hide_failure=_line_of(scan.hide_failure) if scan.hide_failure is not None else "",
        )
        say_what_was_seen(self._name, seen, limited=False)
        if mover.error is not None:
            say(self._name, self._line_of(mover.error))
        if is_stopped or mover.error is not None:
            click.echo("to go on: repeat the command")
        if mover.error is not None:
            return EXIT_CANNOT_START
        if is_stopped:
            return EXIT_INTERRUPTED
        return (
            EXIT_SOME_LEFT if moved.refused or moved.undeleted or moved.unrecorded or moved.returned else EXIT_DRAINED
        )

    def _with_own_option(self, line: str) -> str:
        """Return a line about the command's audit log, whose directory has another option than Courier's own."""
        return line.replace("--audit-path", f"--{self._moving.command}-audit")

    def _line_of(self, error: CourierError) -> str:
        return self._with_own_option(str(error)) if isinstance(error, AuditError) else _line_of(error)

    async def _read(self, messages: Sequence[Message]) -> Sequence[DeadLetter]:
        try:
            return await self._reasons.complete([letter_of(message) for message in messages])
        except Stopped:
            return []

    def _returns(self) -> Returns | None:
        if not self._moving.watches_returns:
            return None
        late = COUNT_LATE_SECONDS if is_aws(self._queue.endpoint.host) else LATE_ELSEWHERE_SECONDS
        return Returns(time.time(), time.monotonic(), late=late)

    async def _bar(self, client: SqsClient) -> ProgressBar:
        depth = await client.depth()
        return ProgressBar(min(depth.waiting, self._limit or depth.waiting), self._moving.command)


def _line_of(error: CourierError) -> str:
    return f"{error}; {advice(error)}" if isinstance(error, SqsError) else str(error)
