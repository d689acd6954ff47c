"""How many examples of a property a run of the tests tries."""

from __future__ import annotations

from hypothesis import settings


def examples(number: int) -> int:
    """Return ``number`` in the long run, where examples are random, and a share of it where they are always the same.

    The share is that of the default of Hypothesis, which the profile of the run says: see tests/conftest.py.
    """
    return max(1, number * settings().max_examples // settings.get_profile("random").max_examples)
