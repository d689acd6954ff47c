"""What can be asked of the supervisor on the control socket: one method an act, and :meth:`Acts.table` lists them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from courier.process import scoreboard
from courier.process.control import Act, Refusal
from courier.process.control_protocol import Fields
from courier.process.notify import Notifier
from courier.process.pause import LONGEST_REASON, end_pause, read_pause, write_pause
from courier.process.peer import Peer
from courier.process.pool import WorkerPool
from courier.process.reload import Reload
from courier.process.scaling import Scaling
from courier.process.scoreboard import Scoreboard

RECEIVES: Final = "consumer"
"""The role that a pause stops."""

log = structlog.get_logger("courier.supervisor")


class Acts:
    """The acts. Each checks its fields first, and raises Refusal before it changes anything.

    ``order`` does what a signal does. ``is_running`` tells whether the program neither drains nor stops.
    """

    def __init__(
        self,
        pool: WorkerPool,
        scaling: Scaling,
        reload: Reload,
        board: Scoreboard,
        notifier: Notifier,
        order: Callable[[signal.Signals], None],
        is_running: Callable[[], bool],
    ) -> None:
        self._pool = pool
        self._scaling = scaling
        self._reload = reload
        self._board = board
        self._notifier = notifier
        self._order = order
        self._is_running = is_running

    def table(self) -> Mapping[str, Act]:
        """Return the acts by name."""
        return {
            "pause": self.pause,
            "resume": self.resume,
            "scale": self.scale,
            "reload": self.reload,
            "reloading": self.reloading,
            "rotate": self.rotate,
            "drain": self.drain,
            "kill": self.kill,
        }

    def pause(self, fields: Fields, peer: Peer) -> dict[str, Any]:
        """Stop receiving; what is under way ends. A pause that is on gets the new reason."""
        reason = reason_of(fields)
        self._refuse_while_draining("nothing is received any more")
        was_paused = read_pause(self._board) is not None
        pause = write_pause(self._board, str(peer), reason, time.monotonic())
        log.info(
            "receiving paused", by=pause.by, reason=reason or "none given", advice="`courier resume` ends the pause"
        )
        self._notifier.show_pause(pause.text())
        self._ring()
        again = "receiving was paused already, and has the new reason" if was_paused else "receiving is paused"
        return {"text": f"{again}; what is under way ends"}

    def resume(self, _: Fields, peer: Peer) -> dict[str, Any]:
        """Receive again."""
        self._refuse_while_draining("nothing is received any more")
        pause = read_pause(self._board)
        if pause is None:
            return {"text": "receiving was not paused"}
        end_pause(self._board)
        seconds = round(time.monotonic() - pause.paused_at, 1)
        log.info(
            "receiving resumed", by=str(peer), seconds=seconds, paused_by=pause.by, reason=pause.reason or "none given"
        )
        self._notifier.show_pause("")
        self._ring()
        return {"text": f"receiving again, after a pause of {seconds:g} seconds", "seconds": seconds}

    def scale(self, fields: Fields, _: Peer) -> dict[str, Any]:
        """Change the number of senders, of consumers or of both; with a ``route``, that of its senders."""
        stages = self._scaling.stages
        counts = {role: fields[f"{role}s"] for role in stages if fields.get(f"{role}s") is not None}
        if (route := fields.get("route")) is not None:
            routes = [role.partition(":")[2] for role in stages if ":" in role]
            if route not in routes:
                raise Refusal(f"there is no such route; the routes are {', '.join(sorted(routes)) or 'none'}")
            if list(counts) != ["sender"]:
                raise Refusal("a route has only senders; give --senders")
            counts = {f"sender:{route}": counts["sender"]}
        if not counts:
            raise Refusal("give the number of senders, of consumers, or of both")
        for role, count in counts.items():
            most = self._scaling.most(role)
            if type(count) is not int or not 1 <= count <= most:
                kind, of = role.partition(":")[::2]
                more = f"restart with more --{kind}s" if not of else "restart with more senders in its file"
                raise Refusal(f"{many(role)} must be a whole number from 1 to {most}; for more, {more}")
        self._refuse_while_draining("no worker is added or removed any more")
        texts = []
        for role, count in counts.items():
            texts.append(f"{many(role)} {self._scaling.wanted(role)} to {count}")
            self._scaling.want(role, count)
        return {"text": ", ".join(sorted(texts)), **{many(r): self._scaling.wanted(r) for r in stages}}

    def reload(self, _: Fields, _peer: Peer) -> dict[str, Any]:
        """Read the file of ``--config`` again, like SIGHUP; what comes of it is the answer to :meth:`reloading`."""
        self._refuse_while_draining("no configuration is read any more")
        if why_not := self._reload.ask():
            raise Refusal(why_not)
        return {"text": "reading the configuration again"}

    def reloading(self, _: Fields, _peer: Peer) -> dict[str, Any]:
        """Return whether a reload is in progress, and what came of the last one."""
        outcome = self._reload.outcome
        return {"busy": self._reload.is_busy, "in_force": outcome.ok, "text": outcome.text}

    def rotate(self, _: Fields, _peer: Peer) -> dict[str, Any]:
        """Begin a new audit file, like SIGUSR1."""
        self._order(signal.SIGUSR1)
        return {"text": "the next audit record begins a new file"}

    def drain(self, _: Fields, _peer: Peer) -> dict[str, Any]:
        """Finish what is under way and end, like SIGTERM; a second time it changes nothing, unlike SIGTERM."""
        if self._is_running():
            self._order(signal.SIGTERM)
            return {"text": "draining; Courier ends when what is under way has ended"}
        return {"text": "draining already"}

    def kill(self, fields: Fields, _: Peer) -> dict[str, Any]:
        """Kill one worker; it is replaced. What it held is shown by SQS again after the visibility timeout."""
        pid = fields.get("pid")
        if type(pid) is not int or pid <= 0:
            raise Refusal("give the pid of a worker")
        worker = next((worker for worker in self._pool.workers if worker.pid == pid), None)
        if worker is None:
            whose = (
                "the supervisor's; `courier drain` ends it" if pid == self._supervisor else "no worker of this Courier"
            )
            raise Refusal(f"pid {pid} is {whose}")
        self._refuse_while_draining("a killed worker would not be replaced")
        if worker.is_draining:
            raise Refusal(f"{worker.stage.role} {worker.slot.index} (pid {pid}) is leaving, and ends by itself")
        worker.send_signal(signal.SIGKILL)
        return {"text": f"killed {worker.stage.role} {worker.slot.index} (pid {pid}); a new one takes its place"}

    @property
    def _supervisor(self) -> int:
        return self._board.supervisor.words[scoreboard.PID]

    def _refuse_while_draining(self, why: str) -> None:
        if not self._is_running():
            raise Refusal(f"Courier is stopping; {why}")

    def _ring(self) -> None:
        """Wake the workers on duty that a pause concerns; the others notice when they come on duty."""
        for worker in self._pool.of(RECEIVES):
            if worker.slot.words[scoreboard.DUTY]:
                worker.stage.bells.ring(worker.slot.index)


def many(role: str) -> str:
    """Return the word for several workers of a role: ``senders``, or ``senders:orders`` for those of a route."""
    kind, colon, route = role.partition(":")
    return f"{kind}s{colon}{route}"


def reason_of(fields: Fields) -> str:
    """Return the reason on one line of printable text; raise Refusal if it is too long or no text."""
    reason = fields.get("reason", "")
    if not isinstance(reason, str) or len(reason) > LONGEST_REASON:
        raise Refusal(f"a reason is a text of at most {LONGEST_REASON} characters")
    return " ".join("".join(each if each.isprintable() else " " for each in reason).split())
