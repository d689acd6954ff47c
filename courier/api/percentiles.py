"""Percentiles of durations, computed from the counts of a histogram's buckets. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

SHARES: Final[Mapping[str, float]] = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
"""The share of the observations that aren't longer, by the name of the percentile."""


def percentiles(bounds: Sequence[float], counts: Sequence[int]) -> dict[str, float | None]:
    """Return each of :data:`SHARES` in seconds; ``None`` without observations.

    ``counts`` are those of the buckets, not cumulative, and ``bounds`` their upper bounds, the last one infinite.
    """
    return {name: percentile(bounds, counts, share) for name, share in SHARES.items()}


def percentile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Return the duration that ``share`` of the observations don't exceed, in seconds; ``None`` without observations.

    Within a bucket the observations are taken as evenly spread, as Prometheus does. So the result lies in the right
    bucket: it is off by the bucket's width at most. In the last bucket, which has no end, it is the lower bound.
    """
    rank = share * sum(counts)
    if not rank:
        return None
    lower, before = 0.0, 0
    for upper, count in zip(bounds, counts, strict=True):
        if count and before + count >= rank:
            return lower if math.isinf(upper) else lower + (upper - lower) * (rank - before) / count
        before += count
        lower = upper
    return bounds[-2]
