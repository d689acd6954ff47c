from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.config.config import OPTIONS
from courier.http.answer import REASONS, SHORTAGES
from courier.process.internal_errors import INTERNAL_ERROR
from courier.recipient.advice import BY_REASON, BY_STATUS, OTHERWISE, advice


@pytest.mark.parametrize("reason", [*REASONS, *SHORTAGES, INTERNAL_ERROR])
def test_each_reason_without_an_answer_says_what_can_be_done(reason: str) -> None:
    assert advice(None, reason) not in ("", OTHERWISE)


@given(st.one_of(st.none(), st.integers(100, 999)), st.text(max_size=20))
def test_whatever_a_delivery_failed_for_something_can_be_said(status: int | None, reason: str) -> None:
    assert advice(status, reason)


@pytest.mark.parametrize("status", [301, 302, 308, 401, 403, 404, 413, 429, 431, 500, 502, 503, 507])
def test_statuses_that_an_operator_can_do_something_about_say_what(status: int) -> None:
    assert advice(status, f"status {status}")


def test_advice_names_only_options_that_there_are() -> None:
    flags = {option.flag for option in OPTIONS.values()}
    for text in (*BY_REASON.values(), *BY_STATUS.values(), advice(302, "")):
        assert set(re.findall(r"--[a-z-]+", text)) <= flags | {"--max-header-bytes"}
