"""The program of several queues, from their configurations to the first process."""

from __future__ import annotations

import os
import pickle
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import structlog
from setproctitle import setproctitle

from courier import __version__
from courier.api.listener import listen
from courier.board.tally import totals
from courier.config.config import Config
from courier.config.file_descriptors import fit_concurrency, raise_limit
from courier.config.loading import service_manager
from courier.errors import EXIT_DRAINED, ConfigError, CourierError
from courier.log.level import set_level
from courier.log.setup import name_queue
from courier.log.stderr import flush_standard_streams
from courier.pipeline import OfQueue, run
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.child import EXIT_FAILED, REPORT
from courier.process.collection import no_collection
from courier.process.kin import die_with
from courier.process.life import RoleFactory
from courier.process.notify import Manager
from courier.process.orders import PROBLEM, Orders
from courier.process.peer import Peer
from courier.process.short_lived_child import Interrupted, run_in_child
from courier.process.signals import block_signals
from courier.process.spread import workers_for_cores
from courier.queues.api import api_of_queues
from courier.queues.first_process import FirstProcess
from courier.queues.options import FirstOptions
from courier.queues.queue_process import QueueProcess
from courier.queues.reloading import ReadEach
from courier.queues.served import ServedQueue
from courier.wiring.aws import configured_aws
from courier.wiring.control import control_path
from courier.wiring.leaving import leave_unstarted, poll_before_start, watcher_role, watcher_seconds, watches
from courier.wiring.page import page_token
from courier.wiring.roles import import_roles

API_SECONDS = 60.0
"""Seconds in which the address of the API must be resolved."""

log = structlog.get_logger("courier")

ReadOne = Callable[[str], Config]
"""Returns the configuration of a table by its name as it is now; raises ConfigError."""


def run_queues(configs: Mapping[str, Config], read_one: ReadOne, read_each: ReadEach) -> int:
    """Run a queue for each of ``configs``, by the names of their tables, until a signal to stop. Return the exit code.

    Raise ConfigError or CannotStart with the line to show, if the program can't start whatever its queues are.
    """
    block_signals()
    setproctitle("courier: supervisor")
    first = next(iter(configs.values()))
    for name, config in configs.items():
        try:
            fit_concurrency(config, raise_limit())
        except ConfigError as error:
            raise ConfigError(f"queue {name}: {error}") from None
    log.info("starting", version=__version__, queues=", ".join(configs))
    try:
        with no_collection():
            for config in configs.values():
                if config.queue_type == "remote":
                    # Before the first fork, so that all processes share what it imports.
                    configured_aws(config.assumed_role)
                import_roles(config)
        if first.api_address is not None:
            run_in_child(partial(_check_api, first), API_SECONDS, "the check of --api")
        departure = poll_before_start(first, lambda: None)[1] if watches(first) else None
    except Interrupted:
        log.info("stopped before it started")
        return EXIT_DRAINED
    if departure is not None:
        return leave_unstarted(first, departure)
    workers_for_cores()
    program: FirstProcess

    def serve(queue: QueueProcess, end: socket.socket) -> NoReturn:
        _serve(queue, end, program, partial(read_one, queue.name))

    options = FirstOptions(
        serve,
        partial(api_of_queues, first) if first.api_address is not None else None,
        _all_totals,
        read_each,
        Manager(*service_manager()),
        max(config.hang_timeout_seconds for config in configs.values()),
        partial(_watcher, first) if watches(first) else None,
        watcher_seconds(first),
        **_control(first),
    )
    program = FirstProcess([ServedQueue.create(name, config) for name, config in configs.items()], options)
    return program.run()


def _serve(
    queue: QueueProcess, end: socket.socket, program: FirstProcess, read_again: Callable[[], Config]
) -> NoReturn:
    """Run the supervisor of a queue in its process, and exit."""
    code, served = EXIT_FAILED, queue.served
    try:
        die_with(program.board.supervisor.words[scoreboard.PID])
        program.let_go()
        name_queue(served.name)
        set_level(queue.config.log_level)
        orders = Orders(end)

        def on_turn(now: float, channels: Mapping[str, Channel]) -> None:
            served.board.supervisor.reals[scoreboard.BEAT] = now
            served.unread.write(channels)

        of = OfQueue(served.name, served.board, orders, served.config, on_turn)
        try:
            code = run(queue.config, read_again, of)
        except CourierError as error:
            orders.tell(PROBLEM, str(error).encode())
            code = error.exit_code
    except Exception:
        log.exception("the supervisor of a queue failed", advice=REPORT)
    finally:
        flush_standard_streams()
        os._exit(code)


def _watcher(config: Config, queues: Sequence[ServedQueue]) -> RoleFactory:
    return watcher_role(config, [queue.board for queue in queues])


def _control(config: Config) -> dict[str, Any]:
    """Return the options of the control socket, which is that of the first process."""
    path = control_path(config)
    if path is None:
        return {}
    # Imported here, because most programs have no control socket.
    from courier.wiring.steering import Steering

    return {"control": path, "status": lambda observed: Steering(observed).status({}, Peer(0, 0, 0))}


def _check_api(config: Config) -> bytes:
    """Raise CannotStart if the API couldn't listen, or its page couldn't act."""
    page_token(config)
    assert config.api_address is not None
    listen(config.api_address).close()
    return pickle.dumps(None)


def _all_totals(queues: Sequence[ServedQueue]) -> Mapping[str, int]:
    counted: Counter[str] = Counter()
    for queue in queues:
        counted.update({name: count for name, count in totals(queue.board).items() if isinstance(count, int)})
    return counted
