"""The bells of a role: a descriptor for each of its workers, by which any process can wake that worker."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Final


class Bells:
    """An eventfd for each slot of a role. Make them before the fork; every worker of the role keeps all of them.

    A ring is a hint and carries nothing: whoever hears one looks at the scoreboard. Several rings may arrive as one.
    """

    def __init__(self, descriptors: Sequence[int] = ()) -> None:
        """Use these eventfds, the one of slot 0 first. Without any, nobody hears a ring."""
        self._descriptors = tuple(descriptors)

    @classmethod
    def create(cls, count: int) -> Bells:
        """Return bells for ``count`` slots. Raise :class:`OSError` if there are too few free descriptors."""
        return cls([os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(count)])

    def ring(self, index: int) -> None:
        """Wake the worker in slot ``index``. It never blocks, and does nothing if the slot has no bell."""
        if index < len(self._descriptors):
            # A bell that was rung 2**64 times unheard is full, and a closed one has no worker left.
            with contextlib.suppress(OSError):
                os.eventfd_write(self._descriptors[index], 1)

    def ring_all(self) -> None:
        """Wake all workers of the role."""
        for index in range(len(self._descriptors)):
            self.ring(index)

    def hush(self, index: int) -> None:
        """Take what was rung for slot ``index``, so that its descriptor is readable only after the next ring."""
        # It may have been heard before the reader was called.
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._descriptors[index])

    def fileno(self, index: int) -> int:
        """Return the descriptor that is readable once slot ``index`` was rung; -1 if the slot has no bell."""
        return self._descriptors[index] if index < len(self._descriptors) else -1

    def filenos(self) -> Sequence[int]:
        """Return the descriptors of all slots."""
        return self._descriptors

    def close(self) -> None:
        """Close the bells in this process."""
        descriptors, self._descriptors = self._descriptors, ()
        for descriptor in descriptors:
            os.close(descriptor)


NO_BELLS: Final = Bells()
"""The bells of a role whose workers call nobody in."""
