from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from courier.http.answer import CANCELLED, REASONS, RESET, Answer, Failure
from courier.lease import MAX_HIDDEN_SECONDS, hidden_seconds, lease_end
from courier.recipient.policy import (
    DEFAULT_REJECT,
    DEFAULT_RETRY,
    DEFAULT_RULES,
    DEFAULT_SUCCESS,
    HEAD_PAUSE_SECONDS,
    HEAD_PROBES,
    LONGEST_HEAD_PAUSE_SECONDS,
    RESETS_KEPT,
    AnswerRules,
    Backoff,
    Delivered,
    HeadTurns,
    Outcome,
    Rejected,
    Resets,
    Retry,
    at_last_receive,
    judge,
    parse_statuses,
    retry_after,
    retry_delay,
    retry_instead,
    second_look,
)

BACKOFF = Backoff(1.0, 900.0)
NOW = 1_795_523_500.0


def answer(status: int, *headers: tuple[bytes, bytes], request_written: bool = True) -> Answer:
    return Answer(status, list(headers), b"", False, request_written, 0.0, 0.01)


def outcome(what: Answer | Failure, attempt: int = 1, rules: AnswerRules = DEFAULT_RULES) -> Outcome:
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


def expected(status: int, attempt: int, asked: float, lists: Sequence[frozenset[int]], *, written: bool) -> Outcome:
    """Return the outcome by the words of docs/delivery.md, in their order."""
    success, retry, reject = lists
    backed_off = 0.5 * min(900.0, 2.0 ** min(attempt - 1, 100))
    if status in success:
        early = "answered before the request was written"
        return Delivered(status) if written else Retry(backed_off, early, status, refusal=True)
    if status in reject and status not in retry:
        return Rejected(f"status {status}", status)
    fault = status == 429 or 500 <= status < 600
    slow_down = asked if status in (429, 503) else 0.0
    return Retry(max(backed_off, asked), f"status {status}", status, fault, slow_down, not fault)


@pytest.mark.parametrize("names", RULES)
@pytest.mark.parametrize("header", HEADERS)
def test_each_status_with_each_header_at_each_attempt(header: str, names: str) -> None:
    value, asked = HEADERS[header]
    headers = () if value is None else ((b"retry-after", value),)
    lists = [parse_statuses(text) for text in RULES[names]]
    rules = AnswerRules.of(*lists)
    for status, attempt, written in itertools.product(
        [*range(100, 600), 600, 999], (1, 2, 3, 10, 1000, 2**31), (True, False)
    ):
        got = judge(answer(status, *headers, request_written=written), attempt, rules, BACKOFF, 0.5, NOW)
        want = expected(status, attempt, asked, lists, written=written)
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
    strict = AnswerRules.of({200}, parse_statuses("408,425,429,500-599"), parse_statuses("300-499"))
    assert outcome(answer(200), rules=strict) == Delivered(200)
    assert isinstance(outcome(answer(202), rules=strict), Retry)


def test_success_counts_before_retry_and_retry_before_reject() -> None:
    rules = AnswerRules.of({200, 404}, {404, 400}, {404, 400, 403})
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


@pytest.mark.parametrize("status", [413, 431])
@pytest.mark.parametrize(
    ("success", "retry", "reject", "kind"),
    [
        (DEFAULT_SUCCESS, DEFAULT_RETRY, DEFAULT_REJECT, Rejected),
        (DEFAULT_SUCCESS, "413,431", DEFAULT_REJECT, Retry),
        (DEFAULT_SUCCESS, DEFAULT_RETRY, "", Retry),
        (DEFAULT_SUCCESS, "400-599", "", Retry),
        ("200-499", DEFAULT_RETRY, DEFAULT_REJECT, Delivered),
    ],
    ids=["default", "in --retry", "on no list", "all of 4xx in --retry", "in --success"],
)
def test_a_message_too_large_for_the_recipient_is_its_own_fault_whatever_the_lists_say(
    status: int, success: str, retry: str, reject: str, kind: type
) -> None:
    judged = outcome(answer(status), rules=AnswerRules.of(*map(parse_statuses, (success, retry, reject))))
    assert isinstance(judged, kind)
    if isinstance(judged, Retry):
        assert (judged.fault, judged.refusal) == (False, True)


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("lists", RULES.values(), ids=RULES)
def test_each_answer_that_does_not_deliver_counts_as_a_fault_or_as_a_refusal(
    lists: tuple[str, str, str], written: bool
) -> None:
    rules = AnswerRules.of(*map(parse_statuses, lists))
    for status in range(100, 1000):
        judged = outcome(answer(status, request_written=written), rules=rules)
        if isinstance(judged, Retry):
            assert judged.fault != judged.refusal, status


def test_a_reset_that_comes_back_while_others_are_answered_is_the_messages_own() -> None:
    resets = Resets()
    assert not resets.is_of_the_message("a", 10.0, 11.0, 10.5, again=False)
    assert resets.is_of_the_message("a", 20.0, 21.0, 11.5, again=True)
    # Nobody has been answered since: it may be the recipient.
    assert not resets.is_of_the_message("a", 30.0, 31.0, 20.5, again=True)
    assert not resets.is_of_the_message("b", 30.0, 31.0, 30.5, again=False)


def test_a_reset_at_another_senders_is_known_by_the_attempt_and_by_what_was_answered_during_it() -> None:
    assert Resets().is_of_the_message("a", 20.0, 21.0, 20.5, again=True)
    assert not Resets().is_of_the_message("a", 20.0, 21.0, 19.5, again=True)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.floats(0.0, 60.0), st.floats(0.0, 5.0)), max_size=200),
    st.floats(0.0, 60.0),
)
@run_with(deadline=None)
def test_in_an_outage_each_message_has_one_reset_at_most_that_is_not_counted(
    attempts: list[tuple[int, float, float]], answered_at: float
) -> None:
    resets = Resets()
    uncounted: dict[str, int] = {}
    for name, began, lasted in sorted(attempts, key=lambda attempt: attempt[1] + attempt[2]):
        now = answered_at + began + lasted
        if resets.is_of_the_message(str(name), answered_at + began, now, answered_at, again=True):
            uncounted[str(name)] = uncounted.get(str(name), 0) + 1
    assert all(count <= 1 for count in uncounted.values())


def test_the_memory_of_resets_has_a_bound() -> None:
    resets = Resets()
    for n in range(3 * RESETS_KEPT):
        resets.is_of_the_message(str(n), 1.0, 2.0, 0.0, again=False)
    assert len(resets._reset_at) == RESETS_KEPT


def test_a_reset_of_the_messages_own_is_no_fault_of_the_recipient() -> None:
    reset = Failure(RESET, "", 0.01)
    for own_reset in (False, True):
        judged = judge(reset, 1, DEFAULT_RULES, BACKOFF, 0.5, NOW, own_reset=own_reset)
        assert isinstance(judged, Retry)
        assert judged.fault != own_reset


@pytest.mark.parametrize(("in_doubt", "failed_before"), [*itertools.product((False, True), repeat=2)])
def test_only_a_failure_in_doubt_of_a_message_that_had_not_failed_before_counts(
    in_doubt: bool, failed_before: bool
) -> None:
    seen = second_look(Retry(1.0, "status 503", 503, fault=True), in_doubt=in_doubt, failed_before=failed_before)
    assert seen.fault == (in_doubt and not failed_before)


def test_a_rejected_message_that_nobody_takes_is_a_refusal_with_the_delay_of_a_retry() -> None:
    rejected = Rejected("status 422", 422)
    retry = retry_instead(rejected, answer(422, (b"retry-after", b"7")), 1, BACKOFF, 0.5, NOW)
    assert retry == Retry(7.0, "status 422", 422, refusal=True)


@pytest.mark.parametrize(("receives", "max_receives", "is_last"), [(1, 0, False), (2, 3, False), (3, 3, True)])
def test_the_last_receive_is_that_of_the_option_where_there_is_one(
    receives: int, max_receives: int, is_last: bool
) -> None:
    rejected = at_last_receive(Retry(1.0, "reset", None), receives, max_receives)
    assert rejected == (Rejected(f"reset at receive {receives}", None) if is_last else None)


def test_in_an_outage_refused_messages_make_way_after_pauses_that_double() -> None:
    turns, since, now = HeadTurns(), 50.0, 50.0
    assert not turns.may_make_way(HEAD_PROBES - 1, since, 1e6)
    for pause in (HEAD_PAUSE_SECONDS * 2**n for n in range(10)):
        now += min(pause, LONGEST_HEAD_PAUSE_SECONDS)
        assert not turns.may_make_way(HEAD_PROBES, since, now - 0.1)
        assert turns.may_make_way(HEAD_PROBES, since, now)
    # The next outage begins anew.
    assert turns.may_make_way(HEAD_PROBES, now + 1.0, now + 1.0 + HEAD_PAUSE_SECONDS)
