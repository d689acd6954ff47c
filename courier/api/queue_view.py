"""The queues as /status shows them: what waits, how it grows, and when the queue will be empty."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from courier.api.about import About
from courier.api.instants import unix
from courier.board.depths import DEAD_LETTERS, FAILURE, SOURCE, oldest_age, read_answer
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard

SAMPLES: Final = 5
"""Answers of SQS from which the growth is computed: two minutes of them. SQS counts approximately."""

LONGEST_SECONDS: Final = 14 * 86_400.0
"""The longest time until a queue is empty: SQS keeps no message longer."""

DEAD_LETTER_QUEUE: Final = "dead-letter queue"
FAILURE_QUEUE: Final = "failure queue"


class QueueView:
    """The source queue, and where messages go that can't be delivered."""

    def __init__(self, board: Scoreboard, about: About) -> None:
        self._board = board
        self.about = about
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=SAMPLES)

    def look(self, now: float) -> int | None:
        """Take a new answer of SQS into the growth, and return the messages that wait; call it once a second.

        ``now`` is in monotonic seconds. ``None`` is unknown.
        """
        answer = read_answer(self._board, SOURCE, now)
        if not answer.numbers:
            self._samples.clear()
            return None
        if not self._samples or self._samples[-1][0] != answer.at:
            self._samples.append((answer.at, answer.numbers[0], self._board.total(scoreboard.DELIVERED)))
        return answer.numbers[0]

    def queue(self, now: float, unix_now: float, delivered_per_second: float) -> dict[str, Any]:
        """Return the source queue as /status shows it; ``delivered_per_second`` is the present rate."""
        answer = read_answer(self._board, SOURCE, now)
        waiting, delayed, in_flight = answer.numbers or (None, None, None)
        oldest = oldest_age(self._board, now)
        growth, arrivals = self._growth()
        empty_in = None
        if waiting is not None and arrivals is not None:
            empty_in = 0.0 if not waiting else _seconds(waiting, delivered_per_second - arrivals)
        return {
            "name": self.about.queue or None,
            "waiting": waiting,
            "delayed": delayed,
            "in_flight": in_flight,
            "oldest_seconds": None if oldest is None else round(oldest, 3),
            "growth_per_second": None if growth is None else round(growth, 2),
            "empty_in_seconds": empty_in,
            "asked_at": unix(answer.at, now, unix_now),
            "problem": answer.problem or None,
        }

    def dead_letters(self, now: float) -> list[dict[str, Any]]:
        """Return the dead-letter queue and the failure queue, as far as there are any."""
        found = []
        places = ((DEAD_LETTERS, DEAD_LETTER_QUEUE), (FAILURE, FAILURE_QUEUE))
        names = (self.about.dead_letter_queue, self.about.failure_queue)
        for name, (place, what) in zip(names, places, strict=True):
            if name:
                numbers, _, problem = read_answer(self._board, place, now)
                messages = numbers[0] if numbers else None
                found.append({"queue": name, "is": what, "messages": messages, "problem": problem or None})
        return found

    def _growth(self) -> tuple[float | None, float | None]:
        """Return the growth of the waiting messages a second, and the arrivals that explain it."""
        if len(self._samples) < 2:
            return None, None
        growth = slope([(at, waiting) for at, waiting, _ in self._samples])
        delivered = slope([(at, delivered) for at, _, delivered in self._samples])
        return growth, max(0.0, growth + delivered)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line through points at different times that fits best (least squares)."""
    middle = sum(at for at, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((at - middle) ** 2 for at, _ in points)
    return sum((at - middle) * (value - mean) for at, value in points) / spread


def _seconds(waiting: int, falls_per_second: float) -> float | None:
    # A queue that needs longer than that doesn't fall: the numbers of SQS are approximate.
    return round(waiting / falls_per_second, 1) if falls_per_second * LONGEST_SECONDS > waiting else None
