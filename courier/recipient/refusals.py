"""Detection of a recipient that refuses everything, as opposed to a few messages that deserve to be refused.

Each message counts once, because its second refusal says nothing new. The counts are those of all senders, on the
scoreboard.
"""

from __future__ import annotations

import math
from typing import Final

from courier.process import scoreboard
from courier.process.scoreboard import AREAS, Scoreboard, Slot
from courier.recipient.breaker import START_FAILURES
from courier.recipient.views import read_views
from courier.recipient.window import Window

MINIMUM: Final = 20
"""The fewest refused messages whose share is significant."""

DEVIATIONS: Final = 4.0
"""Standard deviations by which refusals must exceed the share: fewer may be chance."""

HIGHEST_SHARE: Final = 0.97
"""The upper limit of the share: to distinguish a higher share from 1 would take thousands of messages."""

MARKS: Final = AREAS[scoreboard.REFUSED_MARKS]
MASK: Final = (1 << 64) - 1


def is_clearly_beyond(refused: int, answers: int, share: float, *, minimum: int = MINIMUM) -> bool:
    """Return whether ``refused`` of ``answers`` show, beyond chance, that more than ``share`` are refused.

    Fewer than ``minimum`` refusals show nothing.

    The counts of other processes grow while they are read one after another, so ``answers`` may even be negative.
    """
    share = min(share, HIGHEST_SHARE)
    answers = max(answers, refused, 0)
    beyond = share * answers + DEVIATIONS * math.sqrt(share * (1.0 - share) * answers)
    return refused >= minimum and refused >= beyond


class RefusalGuard:
    """One sender's count of refusals, and the check whether those of all senders are too many."""

    def __init__(self, slot: Slot, board: Scoreboard, share: float, window: float) -> None:
        """Allow a ``share`` of refusals within ``window`` seconds; a share of 0 turns the guard off."""
        self.is_on = share > 0.0
        self._slot = slot
        self._board = board
        self._share = share
        # Counts of refusals and deliveries.
        self._window = Window(window)
        self._next_mark = 0
        # The counts of refusals and deliveries at the first refusal since the last delivery.
        self._row = 0, -1
        self._in_a_row = 0

    def record(self, message_id: str, now: float, *, is_known: bool, is_start: bool) -> tuple[int, int] | None:
        """Record a refusal. Return the refusals and the answers if the refusals are too many, else ``None``.

        ``is_known``: the message was refused before, so it says nothing new about the recipient. ``is_start``: the
        recipient is unknown, so a few refusals are too many. ``now`` is monotonic seconds.
        """
        is_new = not is_known and self._count(message_id)
        if not is_start:
            return self._excess(now) if is_new else None
        if not is_new and self._board.total(scoreboard.DELIVERED, self._slot.role):
            # Before the first delivery a repeated refusal counts too: no other message shows what the recipient does.
            return None
        slot = self._slot
        slot.words[scoreboard.START_REFUSALS] += 1
        slot.reals[scoreboard.START_REFUSED_AT] = now
        refusals = sum(view.refusals for view in read_views(self._board, slot.role, now, slot))
        return (refusals, refusals) if refusals >= START_FAILURES else None

    def _count(self, message_id: str) -> bool:
        """Count a refusal. Return whether it is the first one of this message, as far as is known."""
        refused = self._board.total(scoreboard.REFUSED, self._slot.role)
        delivered = self._board.total(scoreboard.DELIVERED, self._slot.role)
        if self._row[1] != delivered:
            self._row = refused, delivered
        self._in_a_row = refused - self._row[0]
        mark = _mark(message_id)
        if self._delivered_at(mark) is not None:
            return False
        words = self._slot.words
        words[scoreboard.REFUSED_AFTER + self._next_mark] = delivered
        words[scoreboard.REFUSED_MARKS + self._next_mark] = mark
        self._next_mark = (self._next_mark + 1) % MARKS
        words[scoreboard.REFUSED] += 1
        self._in_a_row += 1
        return True

    def is_known(self, message_id: str) -> bool:
        """Return whether a message is itself at fault: refused before, while others have been delivered since."""
        before = self._delivered_at(_mark(message_id))
        return before is not None and before != self._board.total(scoreboard.DELIVERED, self._slot.role)

    def _delivered_at(self, mark: int) -> int | None:
        """Return what all senders had delivered at the first refusal of a message; ``None`` if unknown."""
        for slot in self._board.slots(self._slot.role):
            marks = slot.words[scoreboard.REFUSED_MARKS : scoreboard.REFUSED_MARKS + MARKS].tolist()
            if mark in marks:
                return slot.words[scoreboard.REFUSED_AFTER + marks.index(mark)]
        return None

    def _excess(self, now: float) -> tuple[int, int] | None:
        """Return the refusals and the answers if the refusals are too many. Call it after a new refusal.

        Counts over the window and, separately, since the last delivery: earlier deliveries must not hide that the
        recipient now refuses everything.
        """
        refused = self._board.total(scoreboard.REFUSED, self._slot.role)
        delivered = self._board.total(scoreboard.DELIVERED, self._slot.role)
        refused, delivered = self._window.growth(now, (refused, delivered))
        for count, answers in ((self._in_a_row, self._in_a_row), (refused, refused + delivered)):
            if is_clearly_beyond(count, answers, self._share):
                return count, answers
        return None

    def reset(self) -> None:
        """Forget all refusals: the recipient accepts messages again."""
        self._window.clear()
        self._row = 0, -1
        self._in_a_row = 0
        words = self._slot.words
        for place in range(scoreboard.REFUSED_MARKS, scoreboard.REFUSED_MARKS + MARKS):
            words[place] = 0


def _mark(message_id: str) -> int:
    return (hash(message_id) & MASK) or 1
