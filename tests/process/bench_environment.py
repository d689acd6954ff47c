"""The environment of a test that runs the bench's rig in its own process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from scripts.bench.servers import set_aws_environment


@contextmanager
def bench_environment() -> Iterator[None]:
    """Have the bench's credentials and region for a while, none of the user's, and then what was there before."""
    with mock.patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        set_aws_environment()
        yield
