"""The count of messages that a stop leaves unfinished: cut deliveries, unsettled outcomes, messages of dead workers."""

from __future__ import annotations

from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard


class Unfinished:
    """Counts the unfinished messages from :meth:`begin` on, the beginning of the drain."""

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._has_begun = False
        self._before = 0
        self._held = 0

    def begin(self) -> None:
        """Start to count; leave out everything before."""
        self._has_begun = True
        self._before = self._on_board()

    def add_held(self, held: int, *, is_draining: bool) -> None:
        """Count the ``held`` messages of a dead worker, if it or the whole program was draining."""
        if is_draining or self._has_begun:
            self._held += held

    def count(self) -> int:
        """Return the number of messages that the stop left unfinished."""
        return self._on_board() - self._before + self._held

    def _on_board(self) -> int:
        return self._board.total(scoreboard.CUT) + self._board.total(scoreboard.UNSETTLED)
