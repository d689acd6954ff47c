"""The buckets of a histogram as Prometheus counts them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def cumulative(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Return the upper bound of each bucket, as text, and the count up to it."""
    names = ["+Inf" if bound == float("inf") else repr(bound) for bound in bounds]
    return list(zip(names, itertools.accumulate(counts), strict=True))
