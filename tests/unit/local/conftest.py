"""What holds for the tests of the local servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _uvicorn_says_nothing(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail where uvicorn had something to report: whatever clients do, our handlers are its apps."""
    yield
    assert [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")] == []
