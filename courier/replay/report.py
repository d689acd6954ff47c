"""What a replay prints: what it would send, and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Final

from courier.audit.found import Fields
from courier.log.printable import one_line
from courier.replay.answered import Failed
from courier.replay.candidate import Candidate
from courier.replay.selection import Tally
from courier.replay.verdict import Ending

SAMPLES: Final = 5
LISTED: Final = 20
BODY_CHARACTERS: Final = 60

WHY: Final = {
    Ending.STOPPED: "interrupted",
    Ending.CANNOT_READ: "the records can't be read any further; the log says why",
    Ending.CANNOT_RECORD: "the replay's own records can't be written; the log says why",
    Ending.FEEDER_DIED: "the process that feeds the replay died",
    Ending.CANNOT_START: "it cannot start; the log says why",
    Ending.GAVE_UP: "given up: nothing of it succeeded for the time of --give-up-after; the log says why",
}


def sample(fields: Fields, candidate: Candidate) -> str:
    """Return a line about a message that would be sent."""
    status = "" if fields.get("status") is None else f" {fields['status']}"
    group = f" group {candidate.group}" if candidate.group else ""
    body = candidate.body if len(candidate.body) <= BODY_CHARACTERS else candidate.body[:BODY_CHARACTERS] + "…"
    about = f"{fields.get('time', '')} {candidate.message_id} {fields.get('outcome', 'delivered')}{status}"
    return one_line(f"{about}{group} {body}")


def plan(tally: Tally, samples: Sequence[str], source: str, target: str, gone: int = 0) -> Iterator[str]:
    """Yield the lines about what would be sent. ``gone`` were there when the replay began, and aren't any more."""
    yield f"{tally.sendable} of {_records(tally.records)} in {one_line(source)} to {target}"
    yield from (f"  {each}" for each in samples)
    if tally.sendable > len(samples) > 0:
        yield f"  … and {tally.sendable - len(samples)} more"
    if tally.done:
        yield f"{tally.done} were answered with success by this replay already, and aren't sent again"
    if tally.repeated:
        yield f"{tally.repeated} have the message id of another chosen record; each message is sent once"
    for reason, count in sorted(tally.unsendable.items(), key=lambda each: -each[1]):
        yield f"{count} can't be sent: {reason}"
    if gone:
        yield f"{gone} were in the log when the replay began, and have been removed from it since"
    if tally.damaged:
        yield f"{tally.damaged} damaged lines are left out; courier audit verify says where"


def result(
    sent: int, failed: Collection[Failed], left: int, ending: Ending, given_up: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the lines about a replay that has ended, without how to go on.

    ``given_up`` has some of those that are left, if the replay gave up.
    """
    why = "" if ending is Ending.FINISHED else f" ({WHY[ending]})"
    yield f"{sent} sent, {len(failed)} failed, {left} not sent yet{why}"
    for each in islice(failed, LISTED):
        yield "  " + one_line(f"{each.message_id} {each.reason}{f': {each.answer}' if each.answer else ''}")
    if len(failed) > LISTED:
        yield f"  … and {len(failed) - LISTED} more"
    yield from (f"  {one_line(each)} had no success" for each in given_up)


def _records(count: int) -> str:
    return f"{count} record" if count == 1 else f"{count} records"
