"""What the API shows of the program that no board has, because it doesn't change after the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple


class About(NamedTuple):
    """The names of the queues, empty for none; the configuration; and how the program can be steered.

    ``configuration`` has a mapping for each option, shown unchanged, so it must not contain secrets. ``control`` is the
    path of the control socket, ``None`` for none. ``page_control``: the live page can steer too.
    """

    queue: str = ""
    dead_letter_queue: str = ""
    failure_queue: str = ""
    configuration: Sequence[Mapping[str, Any]] = ()
    control: str | None = None
    page_control: bool = False


NOTHING: Final = About()
"""Of a program without a queue, for tests and for readers of a board alone."""
