"""What a sender did with a failed message, and what happens next, as texts for the log and for /status."""

from __future__ import annotations

from typing import Final, NamedTuple


class Action(NamedTuple):
    """``done`` is what was done with the message, ``then`` what happens next."""

    done: str
    then: str


KEPT_UNTIL_BACK: Final = Action("kept until the recipient is back", "again when the recipient is back")


def kept(seconds: float) -> Action:
    """Return the action for a message that waits in memory for its next attempt, in so many seconds."""
    return Action("kept, and tried again soon", again_in(seconds))


def sent_to(failure_queue: str) -> Action:
    """Return the action for a message that the failure queue gets."""
    return Action("sent to the failure queue", f"to {failure_queue or 'the failure queue'}")


def returned(seconds: float, dead_letter_queue: str) -> Action:
    """Return the action for a message that its queue hides for so many seconds.

    ``dead_letter_queue`` is where the queue moves it instead of showing it again, empty if it shows it again.
    """
    then = f"to {dead_letter_queue}" if dead_letter_queue else again_in(seconds)
    return Action(f"returned to its queue for {seconds:.1f} s", then)


def again_in(seconds: float) -> str:
    """Return that a message is tried again in so many seconds: "again at once", "again in 14 s", "again in 5 min"."""
    if seconds < 0.05:
        return "again at once"
    if seconds < 9.95:
        return f"again in {seconds:.1f} s"
    if seconds < 120:
        return f"again in {seconds:.0f} s"
    return f"again in {seconds / 60:.0f} min" if seconds < 7200 else f"again in {seconds / 3600:.1f} h"
