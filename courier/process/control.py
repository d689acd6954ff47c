"""The control socket: polled in the supervisor's own turn, with no thread, no event loop and no step that can block.

A connection makes the kernel send SIGIO, which the supervisor takes like any other signal, so an act is done at once;
without it the next turn, a second later at most, does it. A client gets one answer to one request. What clients
can cost the program is bounded: so many connections, so many bytes, so much time.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from courier.process.control_protocol import (
    LONGEST_REQUEST,
    Fields,
    missing_bytes,
    packed,
    refusal,
    unpacked,
)
from courier.process.control_socket import ControlSocket, SocketInUse, Unavailable, wake_by_signal
from courier.process.peer import Peer, peer_of

MOST_CLIENTS: Final = 8
"""Connections kept. With one more, the oldest is closed: whoever sends its request at once has its answer by then."""

MOST_ACCEPTED: Final = 32
"""Connections accepted in one turn."""

PATIENCE_SECONDS: Final = 2.0
"""Seconds for a request to arrive."""

AGAIN_SECONDS: Final = 5.0
"""Seconds between two looks whether the other Courier that had the socket is gone."""

QUESTIONS: Final = frozenset({"status"})
"""What only asks. Health checks do so every few seconds, so it isn't logged."""

log = structlog.get_logger("courier.control")


class Refusal(Exception):
    """An act that isn't done; ``str()`` is one line that says why, and what would be right."""


class Later(Protocol):
    """An answer that comes later, since others have to act."""

    def poll(self, now: float) -> dict[str, Any] | None:
        """Return the whole answer, ``None`` while it isn't there; ``now`` is monotonic seconds."""
        ...


Act = Callable[[Fields, Peer], "dict[str, Any] | Later"]
"""What an act does: it gets the fields of the request and who asks, and returns the fields of the answer, or Later."""


@dataclass(frozen=True, slots=True)
class ControlOptions:
    """Where the socket is, ``None`` for no socket, and the acts by name that the supervisor can't do by itself."""

    path: Path | None = None
    acts: Mapping[str, Act] = field(default_factory=dict)


NO_CONTROL: Final = ControlOptions()


class _Client:
    __slots__ = ("act", "connection", "give_up_at", "later", "peer", "received")

    def __init__(self, connection: socket.socket, peer: Peer, give_up_at: float) -> None:
        self.connection = connection
        self.peer = peer
        self.give_up_at = give_up_at
        self.received = bytearray()
        self.act = ""
        self.later: Later | None = None


class Control:
    """The control socket of a program. All instants are monotonic seconds."""

    def __init__(self, path: Path | None, acts: Mapping[str, Act]) -> None:
        """Without a ``path`` there is no socket, and nothing is ever done."""
        self._path = path
        self._acts = acts
        self._socket: ControlSocket | None = None
        self._clients: list[_Client] = []
        self._arrivals = select.poll()
        self._open_at = 0.0
        self._is_waiting = False

    def open(self, now: float) -> None:
        """Make the socket. If that is impossible, say so in one line: the program runs without it."""
        if self._path is None:
            return
        try:
            self._socket = ControlSocket(self._path)
        except SocketInUse:
            self._open_at = now + AGAIN_SECONDS
            if not self._is_waiting:
                self._is_waiting = True
                log.info(
                    "no control socket yet",
                    path=str(self._path),
                    reason="another Courier has it",
                    advice="give each Courier its own --control; this one takes the socket when the other is gone",
                )
        except Unavailable as error:
            log.info(
                "no control socket",
                path=str(self._path),
                reason=str(error),
                advice="nothing if you need none; otherwise give --control a path in a writable directory",
            )
            self._path = None
        else:
            self._arrivals.register(self._socket.listener, select.POLLIN)
            log.info("control socket listening", path=str(self._path))

    def filenos(self) -> Sequence[int]:
        """Return the descriptors, which a child has to close."""
        if self._socket is None:
            return ()
        return [self._socket.listener.fileno(), *(client.connection.fileno() for client in self._clients)]

    def step(self, now: float) -> None:
        """Accept, read, act and answer, as far as that is possible without waiting. Call it in every turn."""
        if self._socket is None:
            if self._path is not None and now >= self._open_at:
                self.open(now)
            return
        # An accept that fails would cost an idle program 70 µs more in each second.
        if self._arrivals.poll(0):
            self._accept(self._socket.listener, now)
        for client in list(self._clients):
            self._serve(client, now)

    def close(self) -> None:
        """Close all connections and the socket, and remove its file."""
        for client in list(self._clients):
            self._drop(client)
        if self._socket is not None:
            self._arrivals.unregister(self._socket.listener)
            self._socket.close()
            self._socket = self._path = None

    def _accept(self, listener: socket.socket, now: float) -> None:
        for _ in range(MOST_ACCEPTED):
            try:
                connection, _address = listener.accept()
            except OSError:
                # Nobody is there, or there is no descriptor left: then the client waits for the next turn.
                return
            try:
                connection.setblocking(False)
                wake_by_signal(connection)
                client = _Client(connection, peer_of(connection), now + PATIENCE_SECONDS)
            except OSError:
                connection.close()
                continue
            self._clients.append(client)
            self._serve(client, now)
            if len(self._clients) > MOST_CLIENTS:
                self._drop(self._clients[0])

    def _serve(self, client: _Client, now: float) -> None:
        if client.later is not None:
            found = client.later.poll(now)
            answer = None if found is None else self._packed(client.act, client.peer, found)
        else:
            answer = self._read(client, now)
            if answer is None and client.later is None and now >= client.give_up_at:
                answer = packed(refusal(f"no whole request within {PATIENCE_SECONDS:g} seconds"))
        if answer is None:
            return
        if answer:
            # One that doesn't fit into the socket's buffer belongs to a client that reads nothing.
            with contextlib.suppress(OSError):
                client.connection.send(answer)
        self._drop(client)

    def _read(self, client: _Client, now: float) -> bytes | None:
        """Return the answer to a client; empty if it is gone, ``None`` if its request or the answer isn't there yet."""
        try:
            while missing := missing_bytes(client.received, LONGEST_REQUEST):
                chunk = client.connection.recv(missing)
                if not chunk:
                    return b""
                client.received += chunk
            fields = unpacked(client.received)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        except ValueError as error:
            return packed(refusal(str(error)))
        client.act, answer = self._do(fields, client.peer)
        if isinstance(answer, dict):
            return self._packed(client.act, client.peer, answer)
        client.later = answer
        found = answer.poll(now)
        return None if found is None else self._packed(client.act, client.peer, found)

    def act(self, fields: dict[str, Any], peer: Peer) -> bytes:
        """Do the act that a request names, and return the answer. No act may answer later."""
        name, answer = self._do(fields, peer)
        assert isinstance(answer, dict)
        return self._packed(name, peer, answer)

    def _do(self, fields: dict[str, Any], peer: Peer) -> tuple[str, dict[str, Any] | Later]:
        """Return the name of the act that a request names, empty for none, and its answer."""
        name = fields.pop("act", None)
        act = self._acts.get(name) if isinstance(name, str) else None
        if act is None:
            return "", refusal(f"there is no such act; the acts are {', '.join(sorted(self._acts))}")
        try:
            answer = act(fields, peer)
            return name, {"ok": True, **answer} if isinstance(answer, dict) else answer
        except Refusal as error:
            return name, refusal(str(error))
        except Exception:
            return name, self._bug(name)

    def _packed(self, name: str, peer: Peer, answer: dict[str, Any]) -> bytes:
        """Log what was done, unless it was no act or only a question, and return the answer as bytes."""
        try:
            text = packed(answer)
        except TypeError:
            answer = self._bug(name)
            text = packed(answer)
        if name and name not in QUESTIONS:
            said = answer.get("text") or answer.get("error", "done")
            log.info("control act", act=name, by=str(peer), done=answer["ok"], answer=said)
        return text

    def _bug(self, name: str) -> dict[str, Any]:
        # Whatever a request brings about, the program must outlive it: a dead supervisor ends every worker.
        log.exception("a bug in an act of the control socket", act=name, advice="please report it; Courier continues")
        return refusal("a bug in Courier; its log has the traceback")

    def _drop(self, client: _Client) -> None:
        self._clients.remove(client)
        client.connection.close()
