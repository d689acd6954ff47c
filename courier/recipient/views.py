"""The senders' views of the recipient, as stored on the scoreboard, and the state that follows from them."""

from __future__ import annotations

from courier.process import scoreboard
from courier.process.scoreboard import SILENT_SECONDS, Scoreboard, Slot
from courier.recipient import breaker
from courier.recipient.breaker import View


def read_view(slot: Slot) -> View:
    """Read a sender's view of the recipient."""
    words, reals = slot.words, slot.reals
    return View(
        faults=words[scoreboard.FAULTS_IN_ROW],
        fault_at=reals[scoreboard.FAULT_AT],
        good_at=reals[scoreboard.GOOD_AT],
        opened_at=reals[scoreboard.OPENED_AT],
        open_until=reals[scoreboard.OPEN_UNTIL],
        since=reals[scoreboard.OPEN_SINCE],
        trips=words[scoreboard.TRIPS],
        closed_at=reals[scoreboard.CLOSED_AT],
        unreachable=words[scoreboard.UNREACHABLE],
        refused=words[scoreboard.STOPPED_BY_REFUSALS],
        answers=words[scoreboard.STOPPED_BY_ANSWERS],
        status=words[scoreboard.STOPPED_BY_STATUS],
        tried_at=reals[scoreboard.START_TRIED_AT],
        refused_at=reals[scoreboard.START_REFUSED_AT],
        refusals=words[scoreboard.START_REFUSALS],
    )


def write_view(slot: Slot, view: View) -> None:
    """Write a sender's view. OPENED_AT and CLOSED_AT come last, because readers use them to find the newest view."""
    words, reals = slot.words, slot.reals
    words[scoreboard.FAULTS_IN_ROW] = view.faults
    reals[scoreboard.FAULT_AT] = view.fault_at
    reals[scoreboard.GOOD_AT] = view.good_at
    reals[scoreboard.OPEN_UNTIL] = view.open_until
    reals[scoreboard.OPEN_SINCE] = view.since
    words[scoreboard.TRIPS] = view.trips
    words[scoreboard.UNREACHABLE] = view.unreachable
    words[scoreboard.STOPPED_BY_REFUSALS] = view.refused
    words[scoreboard.STOPPED_BY_ANSWERS] = view.answers
    words[scoreboard.STOPPED_BY_STATUS] = view.status
    reals[scoreboard.START_TRIED_AT] = view.tried_at
    reals[scoreboard.START_REFUSED_AT] = view.refused_at
    words[scoreboard.START_REFUSALS] = view.refusals
    reals[scoreboard.OPENED_AT] = view.opened_at
    reals[scoreboard.CLOSED_AT] = view.closed_at


def counted_slots(board: Scoreboard, role: str, now: float, own: Slot | None = None) -> list[Slot]:
    """Return the slots of the senders ``role`` whose views count at ``now`` (monotonic seconds); ``own`` always counts.

    The view of a dead sender counts for as long as that of a silent one, so that another sender can adopt it. A
    starting sender doesn't count: its slot still holds its predecessor's view.
    """
    return [
        slot
        for slot in board.slots(role)
        if slot is own
        or (slot.words[scoreboard.STATE] != scoreboard.STARTING and now - slot.reals[scoreboard.BEAT] < SILENT_SECONDS)
    ]


def read_views(board: Scoreboard, role: str, now: float, own: Slot | None = None) -> list[View]:
    """Return the views of the senders ``role`` that count at ``now`` (monotonic seconds)."""
    return [read_view(slot) for slot in counted_slots(board, role, now, own)]


def breaker_state(board: Scoreboard, role: str, now: float) -> int:
    """Return the state of the breaker of the senders ``role`` at ``now`` (monotonic seconds)."""
    return breaker.state(read_views(board, role, now), now)


def paused_until(board: Scoreboard, role: str, now: float, own: Slot | None = None) -> float:
    """Return the end of the pause that their recipient asked for, in monotonic seconds; 0 if there is none."""
    if max(board.real_column(scoreboard.PAUSED_UNTIL, role)) <= now:
        return 0.0
    return max((slot.reals[scoreboard.PAUSED_UNTIL] for slot in counted_slots(board, role, now, own)), default=0.0)
