"""Which attempts become spans, and what a collector can't do to the loop that queues them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier.http.answer import NO_PORTS, TIMEOUT, Answer, Failure
from courier.log.recurring import report_recurring
from courier.message import Attribute, Message
from courier.sender.traces import MOST_QUEUED, TOO_MANY, Attempted, Traces, is_sampled, parent_of, trace_id_of
from tests.unit.sender.stage import Stage, named
from tests.unit.stage import ended, run
from tests.waiting import until

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
XRAY: Final = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled="
MESSAGE: Final = Message("id-1", "receipt", 1.0, 0.0, 1, 0, 0, "", "", "", (), b"{}")
GOOD: Final = Answer(200, [], b"", False, True, 0.0, 0.25)
BAD: Final = Answer(503, [], b"", False, True, 0.0, 0.25)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the thread as long as it takes on a busy machine."""
    monkeypatch.setattr("courier.sender.traces.DRAIN_SECONDS", 30.0)


def with_parent(flags: str) -> Message:
    return MESSAGE._replace(attributes=(Attribute("traceparent", "String", f"00-{TRACE}-{SPAN}-{flags}"),))


class Exported:
    """An export that keeps what it gets, once it may."""

    def __init__(self, problem: str = "") -> None:
        self.spans: list[Attempted] = []
        self.may = Event()
        self.may.set()
        self._problem = problem

    def __call__(self, attempts: Sequence[Attempted]) -> str:
        self.may.wait()
        self.spans += attempts
        return self._problem


def traced(share: float, *attempts: tuple[Message, Answer | Failure]) -> list[Attempted]:
    """Return the spans of attempts."""
    exported = Exported()
    traces = Traces(share, exported)
    for message, answer in attempts:
        traces.note(message, message.receive_count, answer, is_success=answer is GOOD)

    run(lambda: traces.close(time.monotonic() + 30.0))
    return exported.spans


@pytest.mark.parametrize("answer", [GOOD, BAD, Failure(TIMEOUT, "", 0.25)])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_decision_of_a_messages_own_trace_counts(answer: Answer | Failure, share: float) -> None:
    (span,) = traced(share, (with_parent("01"), answer))
    assert (span.trace_id, span.parent_id) == (int(TRACE, 16), int(SPAN, 16))
    assert traced(share, (with_parent("00"), answer)) == []


def test_the_trace_of_sqs_counts_before_the_attribute_as_in_the_request() -> None:
    both = with_parent("01")._replace(trace=XRAY + "0")
    assert traced(1.0, (both, GOOD)) == []
    (span,) = traced(0.0, (both._replace(trace=XRAY + "1"), GOOD))
    assert (span.trace_id, span.parent_id) == (0x5759E988BD862E3FE1BE46A994272793, 0x53995C3F42CD8AD8)
    (span,) = traced(0.0, (both._replace(trace="Root=broken"), GOOD))
    assert span.trace_id == int(TRACE, 16)


def test_without_a_trace_of_its_own_a_share_of_the_messages_is_traced_and_all_failed_attempts() -> None:
    assert traced(0.0, (MESSAGE, GOOD)) == []
    again = MESSAGE._replace(receive_count=2)
    failed, timed_out, delivered = traced(1.0, (MESSAGE, BAD), (MESSAGE, Failure(TIMEOUT, "", 9.0)), (again, GOOD))
    assert len({failed.trace_id, timed_out.trace_id, delivered.trace_id}) == 1
    assert [span.parent_id for span in (failed, timed_out, delivered)] == [0, 0, 0]
    assert [(span.status, span.error) for span in (failed, timed_out, delivered)] == [
        (503, "503"),
        (None, TIMEOUT),
        (200, ""),
    ]
    assert [span.attempt for span in (failed, timed_out, delivered)] == [1, 1, 2]
    assert len(traced(0.0, (MESSAGE, BAD))) == 1


def test_a_shortage_of_this_machine_is_no_attempt() -> None:
    assert traced(1.0, (MESSAGE, Failure(NO_PORTS, "", 0.0))) == []


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_the_share_is_kept(share: float) -> None:
    ids = [trace_id_of(f"message {number}") for number in range(4000)]
    sampled = sum(is_sampled(trace_id, round(share * 2**64)) for trace_id in ids)
    assert abs(sampled / len(ids) - share) < 0.03
    assert share not in (0.0, 1.0) or sampled == share * len(ids)


@given(st.text(), st.text(), st.lists(st.tuples(st.just("traceparent") | st.text(), st.text()), max_size=3))
def test_no_content_is_too_strange_for_a_span(message_id: str, trace: str, texts: list[tuple[str, str]]) -> None:
    attributes = tuple(Attribute(name, "String", value) for name, value in texts)
    message = MESSAGE._replace(message_id=message_id, trace=trace, attributes=attributes)
    assert 0 < trace_id_of(message_id) < 2**128
    Traces(1.0, Exported()).note(message, 1, GOOD, is_success=True)
    parent = parent_of(message)
    assert parent is None or parent.span_id


def test_half_of_a_surrogate_pair_has_a_trace_too() -> None:
    assert trace_id_of("\ud800") != trace_id_of("\udfff")


def test_a_collector_that_never_answers_costs_dropped_spans_that_are_counted_once_a_minute() -> None:
    exported = Exported()
    exported.may.clear()
    traces = Traces(1.0, exported)
    with capture_logs() as logs:
        traces.refresh()
        for number in range(2000):
            traces.note(MESSAGE._replace(message_id=str(number)), 1, GOOD, is_success=True)
            traces.note(MESSAGE._replace(message_id=str(number)), 1, BAD, is_success=False)
        before = list(exported.spans)
        report_recurring(rest=True)
    exported.may.set()
    run(lambda: traces.close(time.monotonic() + 30.0))
    lines = [line for line in logs if line["event"] == "left attempts out of the traces"]
    assert before == []
    assert sum(line["times"] for line in lines) + len(exported.spans) == 4000
    assert lines[0]["reason"] == TOO_MANY
    assert len(lines) <= 4


def test_the_queue_is_bounded_whatever_its_thread_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("courier.sender.traces.MOST_PER_SECOND", 1e9)
    exported = Exported()
    traces = Traces(1.0, exported)
    with capture_logs() as logs:
        for _ in range(MOST_QUEUED + 100):
            traces.note(MESSAGE, 1, GOOD, is_success=True)
        report_recurring(rest=True)
    assert sum(line["times"] for line in logs) == 100
    run(lambda: traces.close(time.monotonic() + 30.0))
    assert len(exported.spans) == MOST_QUEUED


def test_a_drain_leaves_a_silent_collector_alone_at_its_deadline() -> None:
    exported = Exported()
    exported.may.clear()
    traces = Traces(1.0, exported)
    traces.note(MESSAGE, 1, GOOD, is_success=True)
    run(lambda: traces.close(time.monotonic() + 0.1))
    assert exported.spans == []
    exported.may.set()


def test_a_failed_export_is_said_with_its_reason_and_the_number_of_spans() -> None:
    with capture_logs() as logs:
        traces = Traces(1.0, Exported("Connection refused"))
        for _ in range(3):
            traces.note(MESSAGE, 1, GOOD, is_success=True)
        run(lambda: traces.close(time.monotonic() + 30.0))
        report_recurring(rest=True)
    lines = [line for line in logs if line["log_level"] == "warning"]
    assert {line["reason"] for line in lines} == {"Connection refused"}
    assert sum(line["times"] for line in lines) == 3
    assert "--traces" in lines[0]["advice"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_export_that_raises_has_a_successor() -> None:
    calls: list[int] = []

    def export(attempts: Sequence[Attempted]) -> str:
        calls.append(len(attempts))
        if len(calls) == 1:
            raise RuntimeError("a bug")
        return ""

    async def scenario() -> None:
        traces = Traces(1.0, export)
        traces.note(MESSAGE, 1, GOOD, is_success=True)
        await traces.close(time.monotonic() + 0.05)
        await until(lambda: calls)
        traces.note(MESSAGE, 1, GOOD, is_success=True)
        await traces.close(time.monotonic() + 30.0)
        assert len(calls) == 2

    run(scenario)


def test_a_sender_traces_each_attempt_and_gives_the_last_spans_time() -> None:
    async def scenario() -> None:
        exported = Exported()
        traces = Traces(1.0, exported)
        stage = Stage(traces=traces)
        stage.put(*named("a", "b"))
        await stage.sends(2)
        first, second = stage.transport.posts[:2]
        first.answer(200)
        second.answer(503)
        stage.drain_all()
        await ended(stage.role)
        names = sorted((span.message_id, span.status, span.error) for span in exported.spans)
        assert names[:2] == [("a", 200, ""), ("b", 503, "503")]

    run(scenario)
