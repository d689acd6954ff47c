"""What the commands that look at dead letters share: queue, filter, reasons, and what is said afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from courier.cli import EXIT_INTERRUPTED
from courier.cli.audit.output import Notes
from courier.cli.dlq.output import Counter, say, say_what_was_seen
from courier.cli.dlq.wanted import find_wanted
from courier.dlq.audit_reasons import AuditReasons
from courier.dlq.dead_letter import DeadLetter
from courier.dlq.look import Seen, look
from courier.dlq.session import Session, run_session
from courier.errors import EXIT_DRAINED


def look_at(
    command: str,
    act: Callable[[Sequence[DeadLetter]], None],
    queue_name: str,
    region: str | None,
    endpoint_url: str | None,
    audit_path: Path | None,
    limit: int | None = None,
    **values: Any,
) -> int:
    """Hand the chosen dead letters of a queue to ``act``, say what was seen, and return the exit code.

    ``values`` are those of the options that choose.
    """
    name = f"dlq {command}"
    found, choice, audit_path = find_wanted(name, queue_name, region, endpoint_url, audit_path, values)
    counter, notes = Counter("received"), Notes(command, "courier dlq")

    def take(letters: Sequence[DeadLetter]) -> None:
        counter.clear()
        act(letters)

    async def run(session: Session) -> tuple[Seen, bool]:
        reasons = AuditReasons(audit_path, notes)
        try:
            return await look(session, found, choice, reasons, take, limit, counter.show), session.stopped.is_set()
        finally:
            reasons.close()

    try:
        seen, is_stopped = run_session(run)
    finally:
        counter.clear()
        notes.clear()
    if not seen.seen and not is_stopped:
        say(name, f"{found.name} has no message that can be received now")
    say_what_was_seen(name, seen, limited=is_stopped or seen.chosen == limit)
    return EXIT_INTERRUPTED if is_stopped else EXIT_DRAINED
