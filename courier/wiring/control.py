"""The control socket: where it is, and which acts it has beside the supervisor's own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from courier.config.config import Config
from courier.config.loading import runtime_directory
from courier.process.channel import Channel
from courier.process.control import NO_CONTROL, ControlOptions
from courier.process.scoreboard import Scoreboard

SOCKET: Final = "control.sock"
"""The name of the socket in the runtime directory."""


def control_options(config: Config, board: Scoreboard, work: Channel, acks: Channel) -> ControlOptions:
    """Return the path of the control socket, and the acts on what the supervisor itself doesn't know."""
    path = control_path(config)
    if path is None:
        return NO_CONTROL
    # Imported here, because most programs have no control socket.
    from courier.api.observed import Observed
    from courier.wiring.steering import Steering

    steering = Steering(Observed(board, work, acks))
    return ControlOptions(path, {"status": steering.status, "probe": steering.probe})


def control_path(config: Config) -> Path | None:
    """Return the path of the control socket, ``None`` for no socket."""
    if config.control is not None:
        return config.control if isinstance(config.control, Path) else None
    directory = runtime_directory()
    return directory / SOCKET if directory else None
