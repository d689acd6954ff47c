"""The steps of the broken programs: each function takes a step of Courier, and returns what stands in for it.

Courier is imported only where a step needs it: a program must import its parts in the order in which it always does.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any, Final

RECORD_LATE_SECONDS: Final = 0.25
"""Seconds from the delete to the record, long enough that the record is never durable first."""

LOST_EVERY: Final = 40
"""One in so many packets with deliveries is lost on its way to the auditor."""

STALLS_AFTER_SECONDS: Final = 3.0
"""Seconds for which a consumer receives before it stalls."""

STALL_SECONDS: Final = 10.0
"""Seconds of the stall; then it goes on, so that a trial can end with an empty queue."""


def require(owner: Any, attribute: str) -> None:
    """Raise AttributeError unless a module or class itself defines an attribute."""
    if attribute not in vars(owner):
        raise AttributeError(f"{owner.__name__} doesn't define {attribute} any more: break another step")


def delete_before_recording(init: Any) -> Any:
    """Take each record as durable at once, so that its message is deleted, and write it afterwards."""

    def start(committer: Any, thread: Any, on_durable: Any, on_state: Any, **options: Any) -> None:
        def extend(items: Sequence[Any], lines: Sequence[bytes], *patience: float) -> None:
            on_durable(tuple(items))
            asyncio.get_running_loop().call_later(RECORD_LATE_SECONDS, record, items, lines, *patience)

        require(type(committer), "extend")
        record = committer.extend
        init(committer, thread, lambda _: None, on_state, **options)
        committer.extend = extend

    return start


class UnsyncedOs:
    """The module ``os`` as the audit files see it, with an fdatasync that does nothing."""

    def __init__(self, module: Any) -> None:
        from courier.audit.files import AuditFiles

        if "fdatasync" not in AuditFiles.append.__code__.co_names:
            raise AttributeError("AuditFiles.append doesn't call os.fdatasync any more: break another step")
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def fdatasync(self, fd: int) -> None:
        """Leave the records in the page cache."""


def credit_late_answers(session: Any) -> Any:
    """Use a connection again whose request got no answer in time: the late answer passes for that to the next one.

    The recipient's session is broken in this way, those with SQS aren't.
    """
    from courier.http.answer import TIMEOUT

    require(session, "_sweep")

    class Crediting(session):  # type: ignore[misc]  # a class that is known only at run time
        def _sweep(self) -> None:
            now = time.monotonic()
            for connection in list(self._connections):
                exchange = connection.exchange
                if exchange is not None and exchange.deadline <= now and not connection.awaits:
                    connection.exchange = exchange.connection = None
                    connection.idle_since = now
                    self.release(connection)
                    exchange.fail(TIMEOUT, "no whole answer in time")
            super()._sweep()

    return Crediting


def skip_extends(_: Any) -> Any:
    """Never prolong a lease, although the sender that asked for it relies on it."""
    return lambda settler, held: None


def ignore_partial_failures(_: Any) -> Any:
    """Take all records of a call to Firehose as durable, also those that the stream refused.

    The same mistake with a delete would show less: its message comes again, which at least once allows.
    """
    return lambda answer, sent: []


def lose_packets(unpack: Any) -> Any:
    """Drop a packet of outcomes now and then.

    A lost packet of work would only lapse its leases. Here messages that were delivered are neither recorded nor
    deleted, so SQS shows them again.
    """
    from courier.message import DELIVERED

    numbers = itertools.count(1)

    def receive(*packet: Any) -> Any:
        outcomes = unpack(*packet)
        is_lost = any(outcome[0] == DELIVERED for outcome in outcomes) and next(numbers) % LOST_EVERY == 0
        return [] if is_lost else outcomes

    return receive


def reorder_groups(packets: Any) -> Any:
    """Deliver the messages of a group that one receive brings from the last to the first."""

    def reversed_packets(*batch: Any, **options: Any) -> Any:
        return [run[::-1] for run in packets(*batch, **options)]

    return reversed_packets


def sleep_on(_: Any) -> Any:
    """Check nothing on standby: a sender that sleeps relies on being called in."""

    def beat(duty: Any) -> None:
        if duty.standby.on_duty:
            duty.check_soon()

    return beat


def stall_consumers(start_receives: Any) -> Any:
    """Ask SQS for nothing for a while. The consumer still beats, so no watchdog replaces it."""
    began: list[float] = []

    def start(consumer: Any) -> None:
        now = time.monotonic()
        if not began:
            began.append(now)
        stalls_at = began[0] + STALLS_AFTER_SECONDS
        if not stalls_at <= now < stalls_at + STALL_SECONDS or consumer._life.draining.is_set():
            start_receives(consumer)
            return
        if consumer._timer is not None:
            consumer._timer.cancel()
        consumer._start_receives_in(0.1)

    return start
