"""A sliding window over growing counts: by how much each grew within the last seconds. Pure: the clock is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

SAMPLES: Final = 30
"""Samples that are kept within the window."""


class Window:
    """Samples of growing counts over the last ``seconds``."""

    __slots__ = ("_samples", "_seconds")

    def __init__(self, seconds: float) -> None:
        """Start without a sample: growth before the first call doesn't count."""
        self._seconds = seconds
        self._samples: deque[tuple[float, Sequence[int]]] = deque()

    def growth(self, now: float, counts: Sequence[int]) -> list[int]:
        """Return by how much each count has grown within the window. Sample the counts if a sample is due.

        ``now`` is monotonic seconds; ``counts`` has the same length in each call.
        """
        samples = self._samples
        while samples and now - samples[0][0] > self._seconds:
            samples.popleft()
        if not samples or now - samples[-1][0] >= self._seconds / SAMPLES:
            samples.append((now, counts))
        return [count - before for count, before in zip(counts, samples[0][1], strict=True)]

    def forget_before(self, counts: Sequence[int], is_new: Callable[[list[int]], bool]) -> bool:
        """Find the longest recent part of the window whose growth ``is_new``, and forget what was before it.

        ``counts`` are those of the present. Return whether there is such a part; without one nothing is forgotten.
        """
        samples = self._samples
        for index, (_, sample) in enumerate(samples):
            if is_new([count - before for count, before in zip(counts, sample, strict=True)]):
                for _ in range(index):
                    samples.popleft()
                return True
        return False

    def clear(self) -> None:
        """Forget all samples."""
        self._samples.clear()
