"""The acts of the control socket in a program of several queues.

An act with a ``queue`` is about the queue of that name, and without one about all. The acts themselves are those of a
program of one queue: they are passed on to the supervisors, whose answers are put together. What needs no supervisor is
answered here, so that it works while one hangs.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from courier.api.observed import Observed
from courier.process import scoreboard
from courier.process.acts import reason_of
from courier.process.control import Act, Later, Refusal
from courier.process.control_protocol import Fields, packed, refusal, unpacked
from courier.process.pause import end_pause, write_pause
from courier.process.peer import Peer
from courier.queues.queue_process import QueuePhase, QueueProcess

if TYPE_CHECKING:
    from courier.queues.first_process import FirstProcess

FORWARDED: Final = ("pause", "resume", "scale", "rotate", "probe")
ANSWER_SECONDS: Final = 3.0
"""Seconds for the supervisors to answer: less than a client waits."""

Status = Callable[[Observed], dict[str, Any]]
"""Returns the answer to the act ``status`` of a program of one queue."""


class QueueActs:
    """The acts. ``first`` is the first process, whose turns call :meth:`take`."""

    def __init__(self, first: FirstProcess, status: Status) -> None:
        self._first = first
        self._status = status
        self._numbers = itertools.count(1)
        self._awaited: dict[int, Answers] = {}

    def table(self) -> Mapping[str, Act]:
        """Return the acts by name."""
        own: dict[str, Act] = {
            "status": self.status,
            "reload": self.reload,
            "reloading": self.reloading,
            "drain": self.drain,
            "kill": self.kill,
        }
        return own | {name: self._forwarding(name) for name in FORWARDED}

    def take(self, number: int, answer: bytes) -> None:
        """Take the answer of a supervisor to a request."""
        if (answers := self._awaited.pop(number, None)) is not None:
            answers.take(number, unpacked(answer))

    def status(self, fields: Fields, _: Peer) -> dict[str, Any]:
        """Return the state of one queue, or of the program: the worst of its queues, with the reasons of each."""
        if fields.get("queue") is not None:
            return self._status_of(self._named(fields))
        found = {queue.name: self._status_of(queue) for queue in self._first.queues}
        states = [each["state"] for each in found.values()]
        state = "draining" if self._first.is_stopping else worst(states)
        pauses = [f"{name} paused by {each['pause']['by']}" for name, each in found.items() if each.get("pause")]
        return {
            "text": ", ".join([state, *pauses]),
            "state": state,
            "reasons": [f"queue {name}: {reason}" for name, each in found.items() for reason in each["reasons"]],
            "advice": [advice for each in found.values() for advice in each["advice"]],
            "pause": None,
            "queues": found,
        }

    def reload(self, fields: Fields, peer: Peer) -> dict[str, Any] | Later:
        """Read the file of ``--config`` again: all of it, or for one queue. A table without a queue becomes one."""
        self._refuse_while_stopping("no configuration is read any more")
        name = fields.get("queue")
        if not (name is None or isinstance(name, str)):
            raise Refusal("queue must be the name of a [[queue]] table")
        if self._reads_itself(name):
            return self._ask("reload", {}, peer, self._chosen(fields), alone=True)
        if why_not := self._first.reload.ask(name):
            raise Refusal(why_not)
        return {"text": "reading the configuration again"}

    def reloading(self, fields: Fields, peer: Peer) -> dict[str, Any] | Later:
        """Return whether a reload is in progress, and what came of the last one."""
        reload = self._first.reload
        own = {"ok": True, "busy": reload.is_busy, "in_force": reload.outcome.ok, "text": reload.outcome.text}
        name = fields.get("queue")
        if reload.is_busy or name is None:
            return Reloading(own, self._ask("reloading", {}, peer, {} if reload.is_busy else self._running()))
        # What the first process has done for this queue alone, or the queue by itself.
        if name == reload.last or not self._reads_itself(name):
            return own
        return self._ask("reloading", {}, peer, self._chosen(fields), alone=True)

    def drain(self, fields: Fields, _: Peer) -> dict[str, Any]:
        """Finish what is under way and end: the program, or one queue. A second time it changes nothing."""
        if fields.get("queue") is None:
            if self._first.is_stopping:
                return {"text": "draining already"}
            self._first.stop("none, by courier drain")
            return {"text": "draining; Courier ends when what is under way has ended"}
        queue = self._named(fields)
        if queue.phase is not QueuePhase.RUNNING:
            return {"text": f"queue {queue.name} is draining already"}
        self._first.remove(queue)
        return {"text": f"draining queue {queue.name}; the others go on, and a reload starts it again"}

    def kill(self, fields: Fields, peer: Peer) -> dict[str, Any] | Later:
        """Kill one worker; it is replaced."""
        pid = fields.get("pid")
        queues = self._chosen(fields)
        for queue in queues.values():
            if queue.pid == pid:
                raise Refusal(f"pid {pid} is the supervisor of queue {queue.name}; `courier drain --queue` ends it")
            board = queue.served.board
            if any(slot.words[scoreboard.PID] == pid for role in board.roles() for slot in board.slots(role)):
                return self._ask("kill", {"pid": pid}, peer, {queue.name: queue}, alone=True)
        raise Refusal(f"pid {pid} is no worker of a queue of this Courier" if type(pid) is int else "give a pid")

    def _forwarding(self, name: str) -> Act:
        def act(fields: Fields, peer: Peer) -> dict[str, Any] | Later:
            return self._ask(name, fields, peer, self._chosen(fields), alone=fields.get("queue") is not None)

        return act

    def _ask(
        self, act: str, fields: Fields, peer: Peer, queues: Mapping[str, QueueProcess], *, alone: bool = False
    ) -> Answers:
        request = packed({**{name: value for name, value in fields.items() if name != "queue"}, "act": act})
        answers = Answers(time.monotonic() + ANSWER_SECONDS, alone=alone)
        for name, queue in queues.items():
            number = next(self._numbers)
            # One that is starting answers nobody: it may wait for the network for long.
            if queue.is_ready and queue.ask(number, request, peer):
                self._awaited[number] = answers
                answers.await_(number, name)
            else:
                answers.put(name, _without_supervisor(act, fields, peer, queue))
        # What nobody answered, nobody will.
        self._awaited = {number: each for number, each in self._awaited.items() if not each.is_over}
        return answers

    def _chosen(self, fields: Fields) -> Mapping[str, QueueProcess]:
        """Return the queue that a request names, or all that run; raise Refusal if there is none of that name."""
        if fields.get("queue") is None:
            return self._running()
        queue = self._named(fields)
        return {queue.name: queue}

    def _running(self) -> dict[str, QueueProcess]:
        return {queue.name: queue for queue in self._first.queues if queue.phase is QueuePhase.RUNNING}

    def _named(self, fields: Fields) -> QueueProcess:
        for queue in self._first.queues:
            if queue.name == fields["queue"]:
                return queue
        names = ", ".join(queue.name for queue in self._first.queues)
        raise Refusal(f"there is no such queue; the queues are {names or 'none'}")

    def _reads_itself(self, name: object) -> bool:
        return any(queue.name == name and queue.is_ready for queue in self._first.queues)

    def _status_of(self, queue: QueueProcess) -> dict[str, Any]:
        return self._status(queue.served.observed())

    def _refuse_while_stopping(self, why: str) -> None:
        if self._first.is_stopping:
            raise Refusal(f"Courier is stopping; {why}")


class Answers:
    """The answers of supervisors to one request, put together when all are there or the time is over.

    With ``alone``, the answer is that of the only queue.
    """

    def __init__(self, give_up_at: float, *, alone: bool = False) -> None:
        self._give_up_at = give_up_at
        self._alone = alone
        self._names: dict[int, str] = {}
        self._found: dict[str, dict[str, Any]] = {}
        self._order: list[str] = []

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it any more."""
        return time.monotonic() > self._give_up_at

    def await_(self, number: int, name: str) -> None:
        """Wait for the answer of a queue to a request."""
        self._names[number] = name
        self._order.append(name)

    def put(self, name: str, answer: dict[str, Any]) -> None:
        """Put an answer in place of that of a queue that can't be asked."""
        self._found[name] = answer
        self._order.append(name)

    def take(self, number: int, answer: dict[str, Any]) -> None:
        """Take the answer of a queue."""
        self._found[self._names.pop(number)] = answer

    def poll(self, now: float) -> dict[str, Any] | None:
        """Return the whole answer, ``None`` while it isn't there."""
        if self._names and now < self._give_up_at:
            return None
        late = refusal(f"its supervisor gave no answer within {ANSWER_SECONDS:g} seconds; it may be replaced soon")
        found = {name: self._found.get(name, late) for name in self._order}
        if self._alone and len(found) == 1:
            return next(iter(found.values()))
        if not found:
            return refusal("no queue runs")
        said = "; ".join(f"{name}: {each.get('text') or each.get('error', 'done')}" for name, each in found.items())
        if all(each.get("ok") is True for each in found.values()):
            return {"ok": True, "text": said, "queues": found}
        return {**refusal(said), "queues": found}


class Reloading:
    """The answer about a reload: that of the first process, and those of the queues."""

    def __init__(self, own: dict[str, Any], answers: Answers) -> None:
        self._own = own
        self._answers = answers

    def poll(self, now: float) -> dict[str, Any] | None:
        """Return the whole answer, ``None`` while it isn't there."""
        if self._own["busy"]:
            return self._own
        found = self._answers.poll(now)
        if found is None:
            return None
        queues: dict[str, dict[str, Any]] = found.get("queues", {})
        own, answered = self._own, {name: each for name, each in queues.items() if each.get("ok") is True}
        texts = [f"{name}: {each['text']}" for name, each in answered.items() if each.get("text")]
        return {
            "ok": True,
            "busy": any(each["busy"] for each in answered.values()),
            "in_force": own["in_force"] and all(each["in_force"] for each in answered.values()),
            "text": "; ".join(filter(None, [own["text"], *texts])),
            "queues": queues,
        }


def _without_supervisor(act: str, fields: Fields, peer: Peer, queue: QueueProcess) -> dict[str, Any]:
    """Answer for a queue whose supervisor takes no requests. A pause is kept for when it runs."""
    board = queue.served.board
    if not queue.is_ready and act == "pause":
        write_pause(board, str(peer), reason_of(fields), time.monotonic())
        return {"ok": True, "text": "the queue will start paused"}
    if not queue.is_ready and act == "resume":
        end_pause(board)
        return {"ok": True, "text": "the queue will start without a pause"}
    return refusal(_why_not(queue))


def _why_not(queue: QueueProcess) -> str:
    if queue.problem:
        return f"it doesn't run: {queue.problem}"
    return "it takes no requests, because it hangs" if queue.is_ready else "it is starting; try again in a moment"


def worst(states: list[str]) -> str:
    """Return the state of a program whose queues have these states."""
    for state in ("not ready", "starting", "draining"):
        if state in states:
            return state
    return "ready" if states else "not ready"
