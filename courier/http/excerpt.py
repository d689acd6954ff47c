"""The beginning of an answer, safe to show: printable, and without the secrets that Courier sent.

A recipient that refuses a request often repeats parts of it, such as the Authorization header or the URL's path.
"""

from __future__ import annotations

from courier.http.secret_mask import Mask
from courier.log.printable import replaced


def excerpt(answer: bytes, mask: Mask, limit: int) -> str:
    """Return the first ``limit`` characters of an answer.

    Secrets are masked before the answer is cut, so that it can't end in a part of one.
    """
    window = limit * 4 + mask.longest
    head = mask(answer[:window])
    if mask.longest and len(answer) > window:
        # The end may be the beginning of a secret that goes on beyond the window.
        head = head[: -mask.longest]
    return replaced(head[: limit * 4].decode(errors="replace"))[:limit]
