"""The evidence: all that was seen of the messages for which the promise did not hold, in order of time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from scripts.faults.oracle import Seen, Verdict

MOST: Final = 50
"""How many messages are described."""


def write_evidence(path: Path, seen: Seen, verdict: Verdict, began: float) -> None:
    """Write what was seen of each message that the verdict names; times are seconds since ``began``. No file if none.

    Stuck messages are left out: that nothing more was seen of them is the point.
    """
    named = verdict.lost | verdict.altered | verdict.unrecorded | verdict.out_of_order | verdict.unexplained
    chosen = sorted(named | verdict.dead)[:MOST]
    if chosen:
        path.write_text("".join(_described(name, seen, began) for name in chosen))


def _described(name: str, seen: Seen, began: float) -> str:
    lines = [f"{at - began:9.3f} {what}\n" for at, what in sorted(_events(name, seen))]
    return f"{name}\n{''.join(lines)}\n"


def _events(name: str, seen: Seen) -> Iterator[tuple[float, str]]:
    for sent in seen.sent:
        if sent.message_id == name:
            yield sent.at, f"sent {sent.group}".rstrip()
    for received in seen.received:
        if received.message_id == name:
            yield received.at, "received"
    for delivery in seen.deliveries:
        if delivery.message_id == name:
            yield delivery.arrived, f"delivered from port {delivery.port}"
            if delivery.answered is not None:
                yield delivery.answered, f"answered {delivery.status} to port {delivery.port}"
    for delete in seen.deletes:
        if delete.message_id == name:
            yield delete.at, f"deleted: recorded {delete.recorded}, done {delete.done}"
    for held in seen.held:
        if name in held.message_ids:
            yield held.at, f"may come twice: {held.why}"
