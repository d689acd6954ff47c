"""The gate between a program and SQS: it notes what passes, and shows faults while it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, Final
from urllib.parse import urlsplit

from scripts.faults.events import Deleted, Held, Received
from scripts.faults.gate_connection import GateConnection
from scripts.faults.gate_faults import ShownFault, SqsFault
from scripts.faults.gate_notes import Notes, SentElsewhere
from scripts.faults.gate_upstream import Upstream
from scripts.faults.listener import HOST, Listener
from scripts.faults.loop_thread import LoopThread

Hook = Callable[[Collection[str]], object]


class Gate:
    """A proxy for SQS on a loopback port, in a thread of its own: ``url`` is the endpoint for the program.

    ``deletable`` is called in that thread before a delete is passed on, with the message ids; it returns those whose
    record is durable. ``before_delete`` is called after it, ``after_delete`` when SQS has answered and the program
    hasn't got the answer yet. The id of a receipt handle that was never seen is ``""``.
    """

    def __init__(self, upstream_url: str, deletable: Callable[[Collection[str]], Collection[str]]) -> None:
        upstream = urlsplit(upstream_url)
        self._upstream = (upstream.hostname or HOST, upstream.port or 80)
        self.deletable: Final = deletable
        self.before_delete: Hook | None = None
        self.after_delete: Hook | None = None
        self.notes: Final = Notes()
        self.errors: Final[list[dict[str, Any]]] = []
        """What the loop reported: bugs of the suite, after which a trial says nothing."""
        self.shown: tuple[ShownFault, ...] = ()
        self.clients: Final[set[GateConnection]] = set()
        self._thread = LoopThread("gate")
        self.loop: Final[asyncio.AbstractEventLoop] = self._thread.loop
        self.loop.set_exception_handler(lambda _loop, context: self.errors.append(context))
        self._listener = self._thread.do(lambda: Listener(self.loop, lambda: GateConnection(self)))
        self._thread.do(self._listener.open)
        self.url: Final = f"http://{HOST}:{self._listener.port}"

    @property
    def received(self) -> list[Received]:
        """The messages that SQS handed to the program."""
        return self.notes.received

    @property
    def lost(self) -> list[Received]:
        """The messages that SQS handed out in an answer that didn't reach the program."""
        return self.notes.lost

    @property
    def deletes(self) -> list[Deleted]:
        """The deletes that were passed on, once SQS answered or failed to."""
        return self.notes.deletes

    @property
    def held(self) -> list[Held]:
        """The messages that a fault of this gate may have delivered twice."""
        return self.notes.held

    @property
    def sent_elsewhere(self) -> list[SentElsewhere]:
        """The messages that the program sent to a queue."""
        return self.notes.sent_elsewhere

    @property
    def receiving(self) -> frozenset[int]:
        """The ports of the clients that wait for the answer to a receive. Any thread may ask."""
        return frozenset(client.port for client in tuple(self.clients) if client.receives)

    def show(self, *faults: SqsFault) -> tuple[ShownFault, ...]:
        """Show faults from now on, beside those that are shown. Any thread may call this."""
        new = tuple(map(ShownFault, faults))
        self._thread.do(lambda: self._set((*self.shown, *new)))
        return new

    def hide(self, *shown: ShownFault) -> None:
        """Show these no more. Calls that a fault has hit stay as they are."""
        self._thread.do(lambda: self._set(tuple(each for each in self.shown if each not in shown)))

    def heal(self) -> None:
        """Show no fault any more. Calls that a fault has hit stay as they are."""
        self._thread.do(lambda: self._set(()))

    def close(self) -> None:
        """End it, and all connections."""
        self._thread.do(self._end)
        self._thread.stop()

    def new_upstream(self) -> Upstream:
        """Return a way to SQS for one client."""
        return Upstream(self.loop, *self._upstream)

    def _set(self, shown: tuple[ShownFault, ...]) -> None:
        self.shown = shown
        faults = [each.fault for each in shown]
        refusing = [each for each in shown if each.fault.kind == "refuse"]
        if refusing:
            self._listener.refuse()
            for each in refusing:
                # An idle connection counts: its client finds the port shut at its next call.
                each.hits += len(self.clients)
            self._reset_clients()
        elif any(fault.kind == "black-hole" and fault.whole for fault in faults):
            self._listener.ignore()
        else:
            self._listener.open()

    def _reset_clients(self) -> None:
        for client in tuple(self.clients):
            client.reset()

    def _end(self) -> None:
        self._listener.close()
        self._reset_clients()
