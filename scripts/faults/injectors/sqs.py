"""Faults of SQS, shown by the gates between it and the programs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from courier.sqs.credentials import RENEW_EVERY_SECONDS
from scripts.faults.events import Held, Received
from scripts.faults.fault import Fault, NothingHappened
from scripts.faults.gate_calls import DELETES, RECEIVE
from scripts.faults.gate_faults import KINDS, SqsFault
from scripts.faults.world import Program, World

SILENT: Final = frozenset(KINDS) - {"slow", "partial", "invalid-receipt", "duplicate-receive"}
"""Kinds after which a call has brought the program nothing."""

LOOK_SECONDS: Final = 0.05
SLACK_SECONDS: Final = 5.0
MOST_LATEST: Final = 100
"""Deletes that are looked at: one call has up to ten."""

DETAILS: Final = frozenset({"share", "seconds", "amount", "token"})


def break_sqs(world: World, fault: Fault) -> None:
    """Show a fault of the kind ``whom`` for so many seconds, again and again.

    ``detail`` has the other fields of SqsFault, with ``actions`` as a list, and ``program``, the number of the only
    program that meets it. Raise NothingHappened if it hit no call.
    """
    hits = 0
    for turn in range(fault.times):
        if turn and not world.wait(fault.every):
            break
        hits += _show(world, fault, sqs_fault(fault, turn))
    if not hits:
        raise NothingHappened(f"{fault.whom} hit no call")


def sqs_fault(fault: Fault, turn: int = 0) -> SqsFault:
    """Return what the gates show."""
    given: dict[str, Any] = {name: value for name, value in fault.detail.items() if name in DETAILS}
    return SqsFault(fault.whom, frozenset(fault.detail.get("actions", ())), seed=fault.seed + turn, **given)


def brings_nothing(shown: SqsFault, action: str) -> bool:
    """Return whether no call of this action brings the program anything while the fault is shown."""
    return shown.kind in SILENT and shown.share >= 1 and (not shown.actions or action in shown.actions)


def unsettled(
    received: Iterable[Received], deleted: Iterable[str], visibility: float, begin: float, end: float
) -> Held:
    """Return what an outage of deletes explains: messages whose lease ended in it, so that SQS showed them again.

    A message whose lease reached beyond the outage isn't among them: its delete could still come in time.
    """
    ids = {each.message_id for each in received if begin < each.at + visibility <= end}
    return Held(end, "an outage of deletes", frozenset(ids - set(deleted)))


def _show(world: World, fault: Fault, shown: SqsFault) -> int:
    number = fault.detail.get("program")
    programs = world.programs if number is None else [world.programs[number]]
    begin = time.monotonic()
    showing = [(program, program.gate.show(shown)) for program in programs]
    world.note(f"SQS: {fault.whom} begins")
    world.wait(fault.lasts)
    for program, faults in showing:
        program.gate.hide(*faults)
    end = time.monotonic()
    hits = sum(each.hits for _, faults in showing for each in faults)
    world.note(f"SQS: {fault.whom} ends after {hits} calls")
    if brings_nothing(shown, RECEIVE) and len(programs) == len(world.programs):
        world.excuse(begin, end, f"SQS: {fault.whom}")
    if any(brings_nothing(shown, action) for action in DELETES):
        for program in programs:
            _explain(world, program, begin, end)
    return hits


def _explain(world: World, program: Program, begin: float, end: float) -> None:
    notes = program.gate.notes
    deleted = [each.message_id for each in notes.deletes if each.done and each.at < begin]
    held = unsettled(notes.received, deleted, world.row.visibility, begin, end)
    notes.note_held(held.why, held.message_ids)


def expire_credentials(world: World, fault: Fault) -> None:
    """Let SQS refuse the present token of the programs for good, and give them a new one after ``lasts`` seconds.

    Raise NothingHappened if a program made no call with it.
    """
    credentials = world.credentials
    assert credentials is not None, "the row gives no temporary credentials"
    begin = time.monotonic()
    expired = SqsFault("expired-token", token=credentials.token)
    shown = [each for program in world.programs for each in program.gate.show(expired)]
    world.note(f"{credentials.token} has expired")
    world.wait(fault.lasts)
    credentials.renew()
    renewed = time.monotonic()
    world.note(f"{credentials.token} is there")
    world.excuse(begin, renewed, "expired credentials")
    for program in world.programs:
        _wait_for_delete(world, program, renewed)
        _explain(world, program, begin, time.monotonic())
    if not all(each.hits for each in shown):
        raise NothingHappened("no call had the expired token")


def _wait_for_delete(world: World, program: Program, since: float) -> None:
    """Wait until a program deletes again, as long as it may take to find its new credentials."""
    deadline = since + RENEW_EVERY_SECONDS + SLACK_SECONDS
    while time.monotonic() < deadline and world.wait(LOOK_SECONDS):
        if any(each.done and each.at > since for each in program.gate.deletes[-MOST_LATEST:]):
            return


INJECTORS: Final = {"sqs": break_sqs, "expire-credentials": expire_credentials}
