"""Work in threads: giving it up never fails, whatever the thread does at that instant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from courier.request.content import Content
from courier.request.threads import InThread
from tests.unit.stage import message


class EndsMeanwhile(InThread):
    """Work whose thread is done with its wait as soon as somebody has looked at ``stop``."""

    looks = 0

    @property
    def stop(self) -> Callable[[], None] | None:
        self.looks += 1
        return self.stopped if self.looks == 1 else None

    @stop.setter
    def stop(self, _: Callable[[], None] | None) -> None:
        """Take nothing: the test says what it is."""

    def stopped(self) -> None:
        """Do nothing."""


async def test_work_that_ends_its_wait_just_now_can_be_given_up() -> None:
    loop = asyncio.get_running_loop()
    work = EndsMeanwhile(loop, lambda _: Content(message("a")), lambda _: None)
    work.cancel()
    assert work.is_cancelled
