"""The duty of a consumer: whether it receives, when it calls in another one, and when it rests.

One consumer is enough for most queues: it runs as many receives at once as there is room for. So the others sleep, and
open no long polls that SQS would bill. A consumer calls in the next one when there is room for more receives than it
may have in progress, and while its receives fail, because the fault may be that of its own connections.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from courier.process.life import Life
from courier.process.standby import Standby

CONSUMERS_AT_LEAST: Final = 2
"""The number of consumers that are called in even if those on duty have no time left. A further one would only share
their CPU, and helps if they mostly wait for a queue that is far away."""

ANSWERS_IN_ROW: Final = 2
"""The number of answers in a row that show a crowd. One may be chance."""


class Duty:
    """One consumer's duty. ``is_needed`` stays true until something shows that this consumer is one too many."""

    def __init__(
        self,
        life: Life,
        called_in: Callable[[], None],
        batch_size: int,
        *,
        always: bool,
        on_ring: Callable[[], object] = lambda: None,
    ) -> None:
        """``called_in`` is called when this consumer has come on duty; with ``always`` it never rests.

        ``on_ring`` is called when it is rung for on duty: something on the board has changed.
        """
        self.is_needed = False
        self._never_rests = always or life.slot.index == 0
        self._batch_size = batch_size
        self._called_in = called_in
        self._standby = Standby(life, self._come, freely=CONSUMERS_AT_LEAST, on_ring=on_ring)
        self.start: Final = self._standby.start
        self.stop: Final = self._standby.stop
        self.beat: Final = self._standby.beat
        self.come: Final = self._standby.come

    def rests(self, has_trouble: bool) -> bool:
        """Return whether this consumer is on standby, after it went there if it isn't needed.

        It stays on duty while its receives have trouble. Those before it may have the same, and on a FIFO queue only
        this consumer can ask again for the messages of a lost answer.
        """
        standby = self._standby
        if not standby.on_duty:
            return True
        if self._never_rests or self.is_needed or has_trouble:
            return False
        return standby.rest(is_idle=True)

    def look(self, crowded: int, left: int, has_trouble: bool) -> None:
        """Call in another consumer if this one can't receive all that there is room for.

        ``crowded`` is the number of answers in a row that showed more messages in the queue than this consumer may
        receive at once. ``left`` is for how many messages there is room beyond its receives.
        """
        is_full = has_trouble or (crowded >= ANSWERS_IN_ROW and left >= self._batch_size)
        standby = self._standby
        if is_full:
            standby.show_room(False)
            standby.call_in()
        elif not standby.has_room:
            standby.show_room(True)

    def _come(self) -> None:
        self.is_needed = True
        self._called_in()
