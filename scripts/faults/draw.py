"""Values by chance: how an option of a mix or of a test is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

Draw = Callable[[random.Random], Any]


def one_of(*choices: Any) -> Draw:
    """Draw one of some values; ``None`` leaves the option out."""
    return lambda chance: chance.choice(choices)


def seldom(*choices: Any) -> Draw:
    """As :func:`one_of`, but leave the option out in two of three cases."""
    return one_of(*choices, *([None] * 2 * len(choices)))
