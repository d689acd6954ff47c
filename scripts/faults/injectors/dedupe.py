"""Kills of the auditor that hold it to its dedupe window: what was recorded by then isn't delivered again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from scripts.faults.fault import Fault, NothingHappened, PromiseBroken
from scripts.faults.injectors.processes import SLACK_SECONDS, reach
from scripts.faults.injectors.victims import victims
from scripts.faults.world import World


def kill_auditor(world: World, fault: Fault) -> None:
    """Kill the auditor again and again.

    Raise PromiseBroken if a message is accepted a second time whose record was durable at each kill after its first
    delivery. One whose record wasn't may come again.
    """
    unrecorded: set[str] = set()
    recorded: set[str] = set()
    for program, pid in victims(world, fault):
        ports = reach(world, "auditor", pid)
        program.instance.kill(pid)
        world.hurt("kill of the auditor", ports, program=program)
        deleted = {delete.message_id for gate in world.gates for delete in gate.deletes if delete.done}
        waiting = accepted(world).keys() - deleted
        durable = world.recorded(waiting)
        recorded |= durable
        unrecorded |= waiting - durable
        world.note(
            f"killed auditor {pid}: {len(durable)} recorded and not deleted, {len(waiting - durable)} unrecorded"
        )
    # What comes again does so once its lease has ended.
    world.wait(world.row.visibility + SLACK_SECONDS)
    again = {name for name, count in accepted(world).items() if count > 1}
    world.note(f"{len(again)} were accepted again, at most {len(unrecorded)} may have been")
    if broken := again - unrecorded:
        raise PromiseBroken(f"{len(broken)} messages were delivered again that were recorded: {_shown(broken)}")
    if not recorded:
        raise NothingHappened("at no kill was a message recorded and not deleted")


def accepted(world: World) -> Counter[str]:
    """Return how often each message was accepted."""
    deliveries = list(world.recipient.deliveries)
    return Counter(each.message_id for each in deliveries if each.answered is not None and 200 <= each.status < 300)


def _shown(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:5])


INJECTORS: Final = {"kill-auditor": kill_auditor}
"""The injectors by name."""
