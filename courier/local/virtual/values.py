"""The forms of values in attributes and in the documents among them."""

from __future__ import annotations

import re
from typing import Final

MAX_DIGITS: Final = 20  # int() refuses numbers of thousands of digits with an error of its own
ARN: Final = re.compile(r"arn:[a-z-]+:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+")


def is_number(text: str, low: int, high: int) -> bool:
    """Return whether a text is a whole number from ``low`` to ``high``."""
    return text.isascii() and text.isdigit() and len(text) < MAX_DIGITS and low <= int(text) <= high
