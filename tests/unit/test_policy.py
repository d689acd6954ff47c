from __future__ import annotations

import itertools
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.http.answer import CANCELLED, REASONS, Answer, Failure
from courier.policy import (
    DEFAULT_REJECT,
    DEFAULT_RETRY,
    DEFAULT_RULES,
    DEFAULT_SUCCESS,
    MAX_HIDDEN_SECONDS,
    Backoff,
    Delivered,
    Outcome,
    Rejected,
    Retry,
    Rules,
    hidden_seconds,
    judge,
    lease_end,
    retry_after,
    retry_delay,
)
from courier.units import parse_statuses

BACKOFF = Backoff(1.0, 900.0)
NOW = 1_795_523_500.0


def answer(status: int, *headers: tuple[bytes, bytes], request_written: bool = True) -> Answer:
    return Answer(status, list(headers), b"", False, request_written, 0.0, 0.01)


def outcome(what: Answer | Failure, attempt: int = 1, rules: Rules = DEFAULT_RULES) -> Outcome:
    return judge(what, attempt, rules, BACKOFF, 0.5, NOW)


HEADERS: dict[str, tuple[bytes | None, float]] = {
    "none": (None, 0.0),
    "seconds": (b"7", 7.0),
    "seconds with spaces": (b" 7 ", 7.0),
    "date": (formatdate(NOW + 7, usegmt=True).encode(), 7.0),
    "past date": (formatdate(NOW - 7, usegmt=True).encode(), 0.0),
    "date in a hundred years": (formatdate(NOW + 100 * 365 * 86_400, usegmt=True).encode(), float(MAX_HIDDEN_SECONDS)),
    "at once": (b"0", 0.0),
    "a day": (b"86400", float(MAX_HIDDEN_SECONDS)),
    "huge": (b"9" * 300, float(MAX_HIDDEN_SECONDS)),
    "negative": (b"-7", 0.0),
    "a fraction": (b"7.5", 0.0),
    "two values": (b"7, 9", 0.0),
    "no ASCII digits": ("\u0667".encode(), 0.0),
    "empty": (b"", 0.0),
    "nonsense": (b"soon", 0.0),
    "a date that is none": (b"Tue, 99 Nov 2026 25:61:61 GMT", 0.0),
}
"""A Retry-After, and the seconds that it asks for."""

RULES: dict[str, tuple[str, str, str]] = {
    "default": (DEFAULT_SUCCESS, DEFAULT_RETRY, DEFAULT_REJECT),
    "aws-sqsd's": ("200", DEFAULT_RETRY, DEFAULT_REJECT),
    "overlapping": ("200-299,304,404,503", "100-199,400-429,500-599", "400-599"),
    "with gaps": ("201", "", "410,418,500-502"),
    "none at all": ("", "", ""),
}


def expected(status: int, attempt: int, asked: float, rules: tuple[str, str, str], *, written: bool) -> Outcome:
    """Give the outcome by the words of docs/delivery.md, in their order."""
    success, retry, reject = map(parse_statuses, rules)
    backed_off = 0.5 * min(900.0, 2.0 ** min(attempt - 1, 100))
    if status in success:
        return Delivered(status) if written else Retry(backed_off, "answered before the request was written", status)
    if status in reject and status not in retry:
        return Rejected(f"status {status}", status)
    fault = status == 429 or 500 <= status < 600
    slow_down = asked if status in (429, 503) else 0.0
    return Retry(max(backed_off, asked), f"status {status}", status, fault, slow_down)


@pytest.mark.parametrize("names", RULES)
@pytest.mark.parametrize("header", HEADERS)
def test_each_status_with_each_header_at_each_attempt(header: str, names: str) -> None:
    value, asked = HEADERS[header]
    headers = () if value is None else ((b"retry-after", value),)
    rules = Rules.of(*map(parse_statuses, RULES[names]))
    for status, attempt, written in itertools.product(
        [*range(100, 600), 600, 999], (1, 2, 3, 10, 1000, 2**31), (True, False)
    ):
        got = judge(answer(status, *headers, request_written=written), attempt, rules, BACKOFF, 0.5, NOW)
        want = expected(status, attempt, asked, RULES[names], written=written)
        assert got == want, (status, attempt, written)


@pytest.mark.parametrize("status", [200, 204])
def test_a_2xx_before_the_whole_request_was_written_does_not_deliver(status: int) -> None:
    got = outcome(answer(status, request_written=False))
    assert isinstance(got, Retry)
    assert "before the request was written" in got.reason


@pytest.mark.parametrize("reason", REASONS)
def test_a_failure_retries_with_its_reason_and_speaks_against_the_endpoint_unless_it_is_ours(reason: str) -> None:
    assert outcome(Failure(reason, "", 1.0)) == Retry(0.5, reason, None, fault=reason != CANCELLED)


def test_strict_success_leaves_other_2xx_to_be_tried_again() -> None:
    strict = Rules.of({200}, parse_statuses("408,425,429,500-599"), parse_statuses("300-499"))
    assert outcome(answer(200), rules=strict) == Delivered(200)
    assert isinstance(outcome(answer(202), rules=strict), Retry)


def test_success_counts_before_retry_and_retry_before_reject() -> None:
    rules = Rules.of({200, 404}, {404, 400}, {404, 400, 403})
    assert outcome(answer(404), rules=rules) == Delivered(404)
    assert isinstance(outcome(answer(400), rules=rules), Retry)
    assert isinstance(outcome(answer(403), rules=rules), Rejected)


def test_lists_of_statuses_are_read() -> None:
    assert parse_statuses("") == frozenset()
    assert parse_statuses("200, 202-204") == {200, 202, 203, 204}


@pytest.mark.parametrize("text", ["ok", "200-", "-200", "300-200", "99", "1000", "200;201", "2xx"])
def test_a_list_of_statuses_that_is_wrong_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match="200-299,304"):
        parse_statuses(text)


def test_a_retry_after_may_lengthen_the_back_off_and_never_shorten_it() -> None:
    late = BACKOFF.delay(8, 0.5)
    assert outcome(answer(503, (b"retry-after", b"1")), 8) == Retry(late, "status 503", 503, fault=True, slow_down=1.0)
    assert retry_delay(Failure(REASONS[0], "", 1.0), 8, BACKOFF, 0.5, NOW) == late


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%a, %d %b %Y %H:%M:%S -0000", "%a %b %e %H:%M:%S %Y"])
def test_a_date_without_a_zone_is_utc_wherever_this_machine_is(
    monkeypatch: pytest.MonkeyPatch, zone: str, form: str
) -> None:
    value = time.strftime(form, time.gmtime(NOW + 7)).encode()
    with monkeypatch.context() as away:
        away.setenv("TZ", zone)
        time.tzset()
        assert retry_after(value, NOW) == 7.0
    time.tzset()


@given(st.binary(max_size=40))
def test_whatever_a_retry_after_holds_it_is_none_or_within_twelve_hours(value: bytes) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= MAX_HIDDEN_SECONDS


def test_a_retry_after_of_endless_digits_is_the_longest() -> None:
    assert retry_after(b"9" * 100_000, NOW) == MAX_HIDDEN_SECONDS


@given(
    attempt=st.integers(0, 10**9),
    draw=st.floats(0, 1, exclude_max=True),
    base=st.floats(0.001, 100),
    cap=st.floats(0.001, 43_200),
)
def test_the_back_off_stays_between_nothing_and_its_cap(attempt: int, draw: float, base: float, cap: float) -> None:
    delay = Backoff(base, cap).delay(attempt, draw)
    assert 0 <= delay <= min(cap, base * 2.0 ** min(max(attempt, 1) - 1, 60))
    assert Backoff(base, cap, fixed=2.0).delay(attempt, draw) == 2.0


@given(attempt=st.integers(1, 40), draw=st.floats(0.01, 1, exclude_max=True))
def test_the_back_off_never_shrinks_with_the_attempts(attempt: int, draw: float) -> None:
    assert BACKOFF.delay(attempt + 1, draw) >= BACKOFF.delay(attempt, draw)


def test_a_delay_below_a_second_hides_for_a_second() -> None:
    assert hidden_seconds(0.01, received_at=100.0, now=100.0) == 1
    assert hidden_seconds(0.0, received_at=100.0, now=100.0) == 0


@given(delay=st.floats(0, 1e6), age=st.floats(0, 60_000))
def test_a_delay_never_passes_the_twelve_hours_since_the_receive(delay: float, age: float) -> None:
    seconds = hidden_seconds(delay, received_at=1000.0, now=1000.0 + age)
    assert seconds >= 0
    assert seconds == 0 or age + seconds <= MAX_HIDDEN_SECONDS


@pytest.mark.parametrize(("visibility", "margin"), [(1, 0.1), (3, 0.3), (10, 1.0), (30, 1.0), (43_200, 1.0)])
def test_a_lease_ends_a_margin_before_sqs_shows_the_message_again(visibility: int, margin: float) -> None:
    assert lease_end(500.0, visibility, 500.0) == pytest.approx(500.0 + visibility - margin)


def test_an_extended_lease_ends_twelve_hours_after_the_receive() -> None:
    assert lease_end(43_190.0, 30, 0.0) == MAX_HIDDEN_SECONDS
