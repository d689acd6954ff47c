"""Nine broken programs, which show that the suite catches what it is for.

``python -m scripts.faults.broken NAME [OPTION]…`` runs the whole program as ``python -m courier [OPTION]…`` would, but
with one step replaced. A step is replaced before the fork, so all processes have it, and nothing under ``courier/``
knows of it. If the code no longer has that step, the program doesn't start: a patch without effect would let the suite
claim a catch that it never made.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

from courier.cli import main as courier_main
from scripts.faults.broken_steps import (
    UnsyncedOs,
    credit_late_answers,
    delete_before_recording,
    ignore_partial_failures,
    lose_packets,
    reorder_groups,
    require,
    skip_extends,
    sleep_on,
    stall_consumers,
)

EXIT_USAGE: Final = 2

Shows = Literal["lost", "unrecorded", "out of order", "duplicates", "stall", "receives"]
Needs = Literal["nothing", "disk", "late answers", "slow answers", "fifo", "firehose", "a stop"]


class Broken(NamedTuple):
    """A broken program.

    ``place`` is the step that is replaced, as ``module:attribute``; ``instead`` makes the broken step from the right
    one. ``shows`` is the column of the table in which a trial with ``options`` fails, provided that it has what the
    program ``needs``:

    - ``disk``: the record counts only up to the length that the disk shim has seen synced
    - ``late answers``: the recipient answers a share of the messages after ``--timeout`` on the same connection, and
      another share with 503
    - ``slow answers``: the recipient answers a share of the messages after three visibility timeouts
    - ``fifo``: a FIFO queue with fewer groups than messages, so that a receive brings several of a group
    - ``a stop``: the only sender that listens is stopped for longer than the others may take to notice
    - ``firehose``: ``--audit firehose`` with a stream that refuses a share of the records of each call
    """

    name: str
    place: str
    instead: Callable[[Any], Any]
    shows: Shows
    needs: Needs = "nothing"
    options: tuple[str, ...] = ()

    def patch(self) -> None:
        """Replace the step in this process. Raise AttributeError or ImportError if it isn't there any more."""
        owner, attribute = self.find()
        setattr(owner, attribute, self.instead(vars(owner)[attribute]))

    def find(self) -> tuple[Any, str]:
        """Return the module or class that defines the step, and the step's name in it; raise as :meth:`patch` does."""
        module, _, path = self.place.partition(":")
        *outer, attribute = path.split(".")
        owner: Any = importlib.import_module(module)
        for name in outer:
            owner = getattr(owner, name)
        require(owner, attribute)
        return owner, attribute


BROKEN: Final = {
    broken.name: broken
    for broken in (
        Broken(
            "delete-before-record",
            "courier.auditor.committer:Committer.__init__",
            delete_before_recording,
            "unrecorded",
        ),
        Broken("record-without-sync", "courier.audit.files:os", UnsyncedOs, "unrecorded", "disk"),
        Broken(
            "credit-a-late-200",
            "courier.wiring.recipient:Session",
            credit_late_answers,
            "lost",
            "late answers",
            ("--timeout", "1"),
        ),
        Broken(
            "skip-an-extend",
            "courier.auditor.settler:Settler.extend",
            skip_extends,
            "duplicates",
            "slow answers",
            # Slots for the slow answers too: with all of them taken, leases lapse in the right program as well.
            ("--visibility-timeout", "2", "--concurrency", "100"),
        ),
        Broken(
            "ignore-a-partial-failure",
            "courier.audit.firehose:refusals",
            ignore_partial_failures,
            "unrecorded",
            "firehose",
            ("--audit", "firehose"),
        ),
        Broken(
            "lose-a-packet",
            "courier.auditor.auditor:unpack_settlements",
            lose_packets,
            "duplicates",
            options=("--visibility-timeout", "3"),
        ),
        Broken("reorder-a-group", "courier.consumer.consumer:packets", reorder_groups, "out of order", "fifo"),
        Broken("sleep-through-a-stop", "courier.sender.duty:Duty.beat", sleep_on, "stall", "a stop"),
        Broken(
            "stall-a-consumer",
            "courier.consumer.consumer:Consumer._start_receives",
            stall_consumers,
            "stall",
            options=("--consumers", "1"),
        ),
    )
}
"""The broken programs by name."""


def main(arguments: Sequence[str]) -> int:
    """Run the broken program that the first argument names, with the others as its options; return the exit code."""
    if not arguments or arguments[0] not in BROKEN:
        print(f"usage: python -m scripts.faults.broken {{{','.join(BROKEN)}}} [OPTION]…", file=sys.stderr)
        return EXIT_USAGE
    # As the command line does before any module that logs, because it leaves out the parts of structlog not needed.
    importlib.import_module("courier.log.setup")
    BROKEN[arguments[0]].patch()
    return courier_main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
