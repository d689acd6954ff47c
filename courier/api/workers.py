"""The workers as /status and the metrics show them."""

from __future__ import annotations

from typing import Any, Final

from courier.api.memory import Memory
from courier.process import scoreboard
from courier.process.scoreboard import EMPTY, READY, SILENT_SECONDS, SUPERVISOR, Scoreboard, Slot, kind_of
from courier.process.standby import OFF

STATES: Final = ("down", "starting", "ready", "draining")
"""The names of the states on the board. A slot is ``down`` when its worker awaits replacement or was removed."""

SILENT: Final = "silent"
"""The state of a ready or draining worker without a recent beat; its other values can't be trusted."""

CAUSES: Final = {
    "exit": scoreboard.RESTARTS_EXIT,
    "signal": scoreboard.RESTARTS_SIGNAL,
    "hung": scoreboard.RESTARTS_HUNG,
}
"""The causes of restarts, and the word that counts each."""

_NOW: Final = {
    "sender": {"limit": scoreboard.LIMIT},
    "consumer": {"asked": scoreboard.ASKED},
    "auditor": {"held": scoreboard.HELD},
}
"""What only workers of a role do now, and the word of each."""

ON_STANDBY: Final = ("consumer", "sender")
"""The roles whose workers may be off duty."""


def state_of(slot: Slot, now: float) -> str:
    """Return the state of a worker at ``now`` (monotonic seconds), one of :data:`STATES` or :data:`SILENT`."""
    state = slot.words[scoreboard.STATE]
    # The supervisor writes no beat: only the service manager watches it.
    is_silent = slot.role != SUPERVISOR and now - slot.reals[scoreboard.BEAT] >= SILENT_SECONDS
    return SILENT if state >= READY and is_silent else STATES[state]


def on_duty(slot: Slot, now: float) -> bool | None:
    """Return whether a ready worker isn't on standby; ``None`` if it isn't ready, or its role knows no standby."""
    if kind_of(slot.role) not in ON_STANDBY or state_of(slot, now) != STATES[READY]:
        return None
    return slot.words[scoreboard.DUTY] != OFF


def workers(board: Scoreboard, now: float, memory: Memory) -> list[dict[str, Any]]:
    """Return what the board shows of every worker, with its memory."""
    slots = used_slots(board)
    bytes_of = memory.of([pid for slot in slots if (pid := slot.words[scoreboard.PID])])
    return [{**worker(slot, now), "memory_bytes": bytes_of.get(slot.words[scoreboard.PID])} for slot in slots]


def used_slots(board: Scoreboard) -> list[Slot]:
    """Return the slots that have ever had a worker: without the spare ones."""
    return [
        slot
        for role in board.roles()
        for slot in board.slots(role)
        if slot.words[scoreboard.STATE] != EMPTY or slot.reals[scoreboard.STARTED] > 0
    ]


def worker(slot: Slot, now: float) -> dict[str, Any]:
    """Return what the board shows of one worker. What a silent worker wrote isn't shown."""
    words, beat, state = slot.words, slot.reals[scoreboard.BEAT], state_of(slot, now)
    is_silent = state == SILENT
    now_doing = {
        name: None if is_silent or name not in _NOW.get(kind_of(slot.role), {}) else words[word]
        for role in _NOW.values()
        for name, word in role.items()
    }
    return {
        "role": slot.role,
        "index": slot.index,
        "pid": words[scoreboard.PID] or None,
        "state": state,
        "on_duty": on_duty(slot, now),
        "in_flight": None if is_silent else words[scoreboard.IN_FLIGHT],
        **now_doing,
        "last_beat_seconds": round(now - beat, 3) if beat else None,
        "restarts": words[scoreboard.RESTARTS],
        "restarts_by": {cause: words[word] for cause, word in CAUSES.items()},
    }
