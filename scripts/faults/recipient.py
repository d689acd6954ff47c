"""The recipient of a trial: records every request, and does to it what its behaviour says."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from scripts.faults.deliveries import Deliveries
from scripts.faults.events import Held, Window
from scripts.faults.loop_thread import LoopThread
from scripts.faults.ports import held_port
from scripts.faults.recipient_behaviours import OK, Behaviour, Plan
from scripts.faults.recipient_connection import REDIRECTED, RecipientConnection
from scripts.faults.recipient_door import HOST, Certificates, Door
from scripts.faults.recipient_records import Records


class Recipient:
    """An HTTP/1.1 server on a loopback port of its own, in a thread of its own.

    ``url`` is its address, also while it is away. ``authority_pem`` is what a client has to trust (empty without TLS).
    What it records may be read from any thread at any time.
    """

    def __init__(self, *, tls: bool = False) -> None:
        # Held while it is away, or another server could be given it, and the requests with it.
        self._holder = held_port()
        self._port: Final[int] = self._holder.getsockname()[1]
        self._certificates = Certificates() if tls else None
        self.url: Final = f"https://{HOST}:{self._port}/in" if tls else f"http://127.0.0.1:{self._port}/in"
        self.authority_pem: Final = self._certificates.authority_pem if self._certificates is not None else b""
        self._records = Records(redirect_url=self.url + REDIRECTED.decode())
        self._behaviours: tuple[Behaviour, ...] = (OK,)
        self._away: list[Window] = []
        self._away_since: float | None = None
        self._flapping: asyncio.Task[None] | None = None
        self._door: Door | None = None
        self._stopped = False
        self._thread = LoopThread("recipient")
        self._thread.call(self._listen())

    @property
    def deliveries(self) -> Deliveries:
        """The requests that were read whole, in order of arrival; the same object throughout."""
        return self._records.deliveries

    @property
    def accepted(self) -> Counter[str]:
        """How often each message was answered 2xx in whole: live, so read single values or copy it."""
        return self._records.deliveries.accepted

    @property
    def open(self) -> Mapping[tuple[str, int], float]:
        """The requests without an answer now, by message id and client's port, with their time of arrival; a copy."""
        return dict(self._records.open)

    @property
    def held(self) -> list[Held]:
        """The messages whose answer is ambiguous, or may never have been read: each may come once more; a copy."""
        return list(self._records.held)

    @property
    def away(self) -> list[Window]:
        """When it was away; one that lasts ends now."""
        since = self._away_since
        lasting = [] if since is None else [Window(since, time.monotonic(), "the recipient was away")]
        return self._away + lasting

    @property
    def connections(self) -> int:
        """How many connections have made a handshake and are open."""
        return len(self._records.connections)

    @property
    def redirected(self) -> int:
        """How many requests followed a redirect. They aren't deliveries."""
        return self._records.redirected

    @property
    def strays(self) -> int:
        """How many requests named no message."""
        return self._records.strays

    @property
    def hits(self) -> Counter[str]:
        """How often each kind of behaviour was shown; a copy."""
        return Counter(self._records.hits)

    @property
    def behave(self) -> Behaviour | tuple[Behaviour, ...]:
        """What is done to requests from now on; of several behaviours the first that hits. Those begun are kept."""
        return self._behaviours if len(self._behaviours) > 1 else self._behaviours[0]

    @behave.setter
    def behave(self, behaviour: Behaviour | tuple[Behaviour, ...]) -> None:
        self._behaviours = behaviour if isinstance(behaviour, tuple) else (behaviour,)
        plan = Plan(self._behaviours, self._records.hits)
        self._thread.do(lambda: self._follow(plan))

    def write_authority(self, path: Path) -> Path:
        """Write the certificate that a client has to trust."""
        path.write_bytes(self.authority_pem)
        return path

    def go_away(self) -> None:
        """Reset all connections, amid whatever is under way on them, and refuse new ones; the port stays reserved."""
        self._thread.do(self._leave)

    def come_back(self) -> None:
        """Serve again, at the same address."""
        self._thread.call(self._return())

    def flap(self, away_seconds: float, back_seconds: float) -> None:
        """Go away and come back in turn, beginning with the first, until :meth:`steady`."""
        self.steady()
        self._flapping = self._thread.do(lambda: self._thread.loop.create_task(self._flap(away_seconds, back_seconds)))

    def steady(self) -> None:
        """Flap no longer, and be there."""
        self._thread.call(self._end_flapping())

    def stop(self) -> None:
        """End it for good; harmless where it has ended."""
        if not self._stopped:
            self._stopped = True
            self._thread.do(self._leave)
            self._thread.stop()
            self._holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    # In the loop.

    def _follow(self, plan: Plan) -> None:
        self._records.plan = plan
        if not plan.open_door:
            # Who keeps a connection open would never come to the door.
            for connection in list(self._records.connections):
                connection.close_if_idle()

    async def _listen(self) -> None:
        records = self._records
        self._door = Door(
            self._port,
            self._certificates,
            lambda: records.plan.of_connection(),
            lambda: RecipientConnection(records),
        )

    def _leave(self) -> None:
        if self._door is None:
            return
        self._away_since = time.monotonic()
        self._door.close()
        self._door = None
        for connection in list(self._records.connections):
            connection.cut()

    async def _return(self) -> None:
        if self._door is None:
            await self._listen()
            if self._away_since is not None:
                self._away.append(Window(self._away_since, time.monotonic(), "the recipient was away"))
                self._away_since = None

    async def _flap(self, away_seconds: float, back_seconds: float) -> None:
        while True:
            self._leave()
            await asyncio.sleep(away_seconds)
            await self._return()
            await asyncio.sleep(back_seconds)

    async def _end_flapping(self) -> None:
        task, self._flapping = self._flapping, None
        if task is not None:
            task.cancel()
        await self._return()
