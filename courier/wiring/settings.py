"""The settings that a reload has changed, on the board for the API."""

from __future__ import annotations

from collections.abc import Callable

from courier.board.settings_in_force import write_changes
from courier.config.config import OPTIONS, Config
from courier.config.sources import settings
from courier.process.scoreboard import Scoreboard


def settings_in_force(board: Scoreboard, start: Config) -> Callable[[Config], None]:
    """Return what writes on the board how a later configuration differs from that of the start."""
    before = settings(start, start.sources)

    def write(new: Config) -> None:
        after = settings(new, new.sources)
        write_changes(
            board,
            [
                {**setting._asdict(), "name": name}
                for name, setting, old in zip(OPTIONS, after, before, strict=True)
                if setting != old
            ],
        )

    return write
