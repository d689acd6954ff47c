"""The control socket: where it is, and which acts it has beside the supervisor's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from courier.config.config import Config
from courier.config.loading import runtime_directory
from courier.process.channel import Channel
from courier.process.control import NO_CONTROL, ControlOptions
from courier.process.scoreboard import Scoreboard
from courier.wiring.pools import SenderPool

if TYPE_CHECKING:
    from courier.api.observed import Observed

SOCKET: Final = "control.sock"
"""The name of the socket in the runtime directory."""


def control_options(
    config: Config, board: Scoreboard, pools: Sequence[SenderPool], acks: Channel, *, of_queue: bool = False
) -> ControlOptions:
    """Return the path of the control socket, and the acts on what the supervisor itself doesn't know.

    ``of_queue``: this is one queue of several, which gets requests from the first process, and has no socket.
    """
    path = None if of_queue else control_path(config)
    if path is None and not of_queue:
        return NO_CONTROL
    # Imported here, because most programs have no control socket.
    from courier.wiring.steering import Steering

    steering = Steering(observed(board, pools, acks))
    return ControlOptions(path, {"status": steering.status, "probe": steering.probe})


def observed(board: Scoreboard, pools: Sequence[SenderPool], acks: Channel) -> Observed:
    """Return what is to be seen of the running program."""
    from courier.api.observed import Observed

    own, *routes = pools
    return Observed(board, own.work, acks, {pool.role: pool.work for pool in routes})


def control_path(config: Config) -> Path | None:
    """Return the path of the control socket, ``None`` for no socket."""
    if config.control is not None:
        return config.control if isinstance(config.control, Path) else None
    directory = runtime_directory()
    return directory / SOCKET if directory else None
