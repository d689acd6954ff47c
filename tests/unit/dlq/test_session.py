"""The signals that end a command on dead letters."""

from __future__ import annotations

import asyncio

from courier.dlq.session import Session


def test_a_signal_that_came_before_anything_could_be_stopped_stops_it_all_the_same() -> None:
    async def scenario() -> list[str]:
        session, stopped = Session(asyncio.get_running_loop()), list[str]()
        session.when_stopped(lambda: stopped.append("looking up"))
        session.stop()
        session.when_stopped(lambda: stopped.append("looking"))
        return stopped

    assert asyncio.run(scenario()) == ["looking up", "looking"]
