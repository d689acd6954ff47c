"""The reload of the pipeline: from a new configuration to the workers that it changes.

See :mod:`courier.config.reloading` for the options that a running program takes on, and :mod:`courier.process.reload`
for the replacement of workers.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Final

from courier.config.config import OPTIONS, Config
from courier.config.file_descriptors import fit_concurrency, raise_limit
from courier.config.reloading import OF_CONSUMERS, changed, refuse_other_routes, refuse_what_needs_a_restart
from courier.preflight import check_sending, raise_failed
from courier.process.life import RoleFactory
from courier.process.rereading import Plan, Rereading
from courier.risks import warn_of_risks

COUNTS: Final = {"consumers": "consumer", "senders": "sender"}
"""The roles by the field of their number of workers."""

MAKES_NO_WORKERS: Final = frozenset({*COUNTS, "log_level"})
"""The reloadable fields that change without a new worker."""

Factories = Callable[[Config], Mapping[str, RoleFactory]]


def rereading(
    config: Config,
    read_again: Callable[[], Config],
    factories: Factories,
    most: Mapping[str, int],
    adopt: Callable[[Config], None],
) -> Rereading:
    """Return how the program rereads its configuration, which is ``config`` at first.

    ``read_again`` returns the configuration of now, and raises ConfigError. ``factories`` returns the factories of
    consumers and senders, by role. ``most`` is the greatest number of workers by role. ``adopt`` is called when a new
    configuration is in force.
    """
    in_force = config

    def read() -> bytes:
        new, too_few_files = fit_concurrency(read_again(), raise_limit())
        refuse_what_needs_a_restart(in_force, new, {name: most[role] for name, role in COUNTS.items()})
        refuse_other_routes(in_force, new, most)
        raise_failed(check_sending(new))
        warn_of_risks(new, too_few_files)
        # As :func:`plan` does in the supervisor: what fails there fails here first, and harms only this child.
        factories(new)
        # From a child of this program, through a pipe that nobody else has.
        return pickle.dumps(new)

    def plan(found: bytes) -> Plan:
        new: Config = pickle.loads(found)
        names = changed(in_force, new)
        makes = factories(new) if not MAKES_NO_WORKERS.issuperset(names) else {}
        replaced = [role for role in makes if role != "consumer" or OF_CONSUMERS.intersection(names)]
        counts = {COUNTS[name]: getattr(new, name) for name in names if name in COUNTS}
        if new.routes is not None and {"senders", "routes"}.intersection(names):
            routes = zip(new.routes.routes, new.of_routes, strict=True)
            counts |= {f"sender:{route.name}": each.senders for route, each in routes}

        def put_in_force() -> None:
            nonlocal in_force
            in_force = new
            adopt(new)

        return Plan(
            {role: makes[role] for role in replaced},
            counts,
            [OPTIONS[name].flag for name in names],
            put_in_force,
        )

    return Rereading(read, plan)
