"""The metrics, as Prometheus would read them, of boards that were filled by hand."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from courier.api.collector import BoardCollector
from courier.board.depths import DEAD_LETTERS, SOURCE, OldestReceived, write_depth
from courier.board.tally import ACTIONS, REASONS, RESULTS, call_counter, reason_place
from courier.process import scoreboard
from courier.process.histogram import Histogram
from courier.process.pause import end_pause, write_pause
from courier.process.scoreboard import AGE_BOUNDS, LATENCY_BOUNDS, SILENT_SECONDS, Scoreboard
from courier.process.standby import OFF
from courier.recipient.breaker import CLOSED, HALF_OPEN, OPEN, View
from courier.recipient.views import write_view
from courier.sqs.queue import QueueDepth
from tests.unit.api.boards import observed, running_board

METRICS_PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def families(board: Scoreboard, work: int = 0, acks: int = 0) -> list[Metric]:
    registry = CollectorRegistry()
    registry.register(BoardCollector(observed(board, work, acks)))
    return list(text_string_to_metric_families(generate_latest(registry).decode()))


def series(found: Iterable[Metric]) -> Series:
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in found for s in family.samples}


def value(board: Scoreboard, name: str, work: int = 0, acks: int = 0, **labels: str) -> float:
    return series(families(board, work, acks))[name, tuple(sorted(labels.items()))]


@pytest.fixture
def board() -> Scoreboard:
    return running_board()


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("courier_received_total", scoreboard.RECEIVED),
        ("courier_delivered_total", scoreboard.DELIVERED),
        ("courier_released_total", scoreboard.RELEASED),
        ("courier_recorded_total", scoreboard.RECORDED),
        ("courier_records_lost_total", scoreboard.RECORDS_LOST),
        ("courier_deleted_total", scoreboard.DELETED),
        ("courier_lapsed_total", scoreboard.LAPSED),
        ("courier_stale_total", scoreboard.STALE),
        ("courier_cut_total", scoreboard.CUT),
        ("courier_breaker_openings_total", scoreboard.OPENINGS),
        ("courier_audit_failures_total", scoreboard.AUDIT_FAILURES),
    ],
)
def test_a_number_is_the_sum_over_all_slots_spare_ones_too(board: Scoreboard, name: str, word: int) -> None:
    for amount, slot in enumerate(board.slots("sender"), 1):
        slot.words[word] = 10**amount
    assert value(board, name) == 1110


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("courier_in_flight", scoreboard.IN_FLIGHT),
        ("courier_limit", scoreboard.LIMIT),
        ("courier_held", scoreboard.HELD),
        ("courier_held_bytes", scoreboard.HELD_BYTES),
        ("courier_asked", scoreboard.ASKED),
    ],
)
def test_what_is_true_of_this_moment_is_the_sum_over_the_workers_that_beat(
    board: Scoreboard, name: str, word: int
) -> None:
    for amount, slot in enumerate(board.slots("sender"), 1):
        slot.words[word] = 10**amount
    assert value(board, name) == 110
    board.slots("sender")[0].reals[scoreboard.BEAT] -= scoreboard.SILENT_SECONDS
    assert value(board, name) == 100


def test_a_worker_that_beats_no_more_is_silent_whatever_it_last_was(board: Scoreboard) -> None:
    assert value(board, "courier_workers", role="sender", state="ready") == 2
    board.slots("sender")[0].reals[scoreboard.BEAT] -= scoreboard.SILENT_SECONDS
    assert value(board, "courier_workers", role="sender", state="ready") == 1
    assert value(board, "courier_workers", role="sender", state="silent") == 1
    board.slots("auditor")[0].words[scoreboard.AUDIT_FAILING] = 1
    assert value(board, "courier_audit_failing") == 1
    board.slots("auditor")[0].reals[scoreboard.BEAT] -= scoreboard.SILENT_SECONDS
    assert value(board, "courier_audit_failing") == 0


def test_retries_and_rejections_are_counted_by_reason(board: Scoreboard) -> None:
    words = board.slots("sender")[1].words
    words[scoreboard.RETRIED_BY + reason_place(503, "status 503")] += 2
    words[scoreboard.RETRIED_BY + reason_place(None, "timeout")] += 3
    words[scoreboard.REJECTED_BY + reason_place(422, "status 422")] += 4
    assert value(board, "courier_retried_total", reason="5xx") == 2
    assert value(board, "courier_retried_total", reason="timeout") == 3
    assert value(board, "courier_rejected_total", reason="422") == 4
    assert sum(v for (name, _), v in series(families(board)).items() if name == "courier_retried_total") == 5


def test_calls_are_counted_whether_they_failed_or_not_and_errors_by_class(board: Scoreboard) -> None:
    count = call_counter(board.slots("consumer")[1])
    for code in (None, None, "AccessDenied", "network"):
        count("ReceiveMessage", code)
    call_counter(board.slots("auditor")[0])("DeleteMessageBatch", "ThrottlingException")
    assert value(board, "courier_sqs_calls_total", action="ReceiveMessage") == 4
    assert value(board, "courier_sqs_errors_total", action="ReceiveMessage", code="denied") == 1
    assert value(board, "courier_sqs_errors_total", action="ReceiveMessage", code="network") == 1
    assert value(board, "courier_sqs_errors_total", action="DeleteMessageBatch", code="throttled") == 1


def test_restarts_are_counted_by_role_and_cause(board: Scoreboard) -> None:
    board.slots("sender")[0].words[scoreboard.RESTARTS_SIGNAL] = 2
    board.slots("sender")[1].words[scoreboard.RESTARTS_SIGNAL] = 1
    board.slots("auditor")[0].words[scoreboard.RESTARTS_HUNG] = 1
    assert value(board, "courier_worker_restarts_total", role="sender", cause="signal") == 3
    assert value(board, "courier_worker_restarts_total", role="sender", cause="exit") == 0
    assert value(board, "courier_worker_restarts_total", role="auditor", cause="hung") == 1


def test_a_histogram_has_cumulative_buckets_a_count_and_a_sum(board: Scoreboard) -> None:
    for slot, seconds in zip(board.slots("sender"), (0.002, 0.02, 100.0), strict=True):
        for histogram in (Histogram.of_latency(slot), Histogram.of_age(slot)):
            histogram.observe(seconds)
            histogram.flush()
    board.slots("auditor")[0].observe_sync(0.003)
    assert value(board, "courier_delivery_seconds_bucket", le="0.001") == 0
    assert value(board, "courier_delivery_seconds_bucket", le="0.0025") == 1
    assert value(board, "courier_delivery_seconds_bucket", le="30.0") == 2
    assert value(board, "courier_delivery_seconds_bucket", le="+Inf") == 3
    assert value(board, "courier_delivery_seconds_count") == 3
    assert value(board, "courier_delivery_seconds_sum") == pytest.approx(100.022)
    assert value(board, "courier_end_to_end_seconds_bucket", le="300.0") == 3
    assert value(board, "courier_audit_sync_seconds_count") == 1


def test_buckets_end_in_infinity() -> None:
    assert LATENCY_BOUNDS[-1] == AGE_BOUNDS[-1] == float("inf")


def test_what_waits_is_none_where_the_channel_is_empty_whatever_the_counters_say(board: Scoreboard) -> None:
    board.slots("consumer")[0].words[scoreboard.PUT] = 9
    board.slots("consumer")[0].words[scoreboard.PUT_BYTES] = 900
    board.slots("sender")[0].words[scoreboard.TAKEN] = 2
    board.slots("sender")[0].words[scoreboard.SETTLE_PUT] = 5
    assert value(board, "courier_channel_depth", channel="work") == 0
    assert value(board, "courier_channel_depth", work=1, channel="work") == 7
    assert value(board, "courier_channel_bytes", work=1, channel="work") == 900
    assert value(board, "courier_channel_depth", acks=640, channel="acks") == 5
    assert value(board, "courier_channel_bytes", acks=640, channel="acks") == 640


def test_states_are_0_or_1(board: Scoreboard) -> None:
    names = ("courier_ready", "courier_draining", "courier_audit_failing")
    assert [value(board, name) for name in names] == [1, 0, 0]
    board.slots("auditor")[0].words[scoreboard.AUDIT_FAILING] = 2
    assert [value(board, name) for name in names] == [1, 0, 1]
    board.slots("auditor")[0].words[scoreboard.AUDIT_FAILING] = 1
    assert [value(board, name) for name in names] == [0, 0, 1]
    board.supervisor.words[scoreboard.STATE] = scoreboard.DRAINING
    assert [value(board, name) for name in names] == [0, 1, 1]


def test_the_breaker_is_told_by_the_views_of_senders_that_beat_and_no_others(board: Scoreboard) -> None:
    now = time.monotonic()
    first, second, _ = board.slots("sender")
    assert value(board, "courier_breaker_state") == CLOSED
    write_view(second, View(opened_at=now - 1, open_until=now + 60, trips=1))
    assert value(board, "courier_breaker_state") == OPEN
    second.reals[scoreboard.BEAT] = now - SILENT_SECONDS
    assert value(board, "courier_breaker_state") == CLOSED
    second.reals[scoreboard.BEAT] = now
    write_view(second, View(opened_at=now - 2, open_until=now - 1, trips=1))
    assert value(board, "courier_breaker_state") == HALF_OPEN
    write_view(first, View(closed_at=now))
    assert value(board, "courier_breaker_state") == CLOSED


def test_receiving_that_is_stopped_by_refusals_is_told(board: Scoreboard) -> None:
    now = time.monotonic()
    assert value(board, "courier_stopped_by_refusals") == 0
    view = View(opened_at=now, open_until=now + 60, since=now, trips=1, refused=20, answers=25, status=404)
    write_view(board.slots("sender")[0], view)
    assert value(board, "courier_stopped_by_refusals") == 1
    write_view(board.slots("sender")[1], View(closed_at=now + 1))
    assert value(board, "courier_stopped_by_refusals") == 0


def test_a_pause_of_receiving_is_told_as_long_as_it_lasts(board: Scoreboard) -> None:
    assert value(board, "courier_receiving_paused") == 0
    write_pause(board, "root (uid 0, pid 1)", "", time.monotonic())
    assert value(board, "courier_receiving_paused") == 1
    end_pause(board)
    assert value(board, "courier_receiving_paused") == 0


def test_a_pause_is_told_by_the_seconds_that_are_left_of_it(board: Scoreboard) -> None:
    assert value(board, "courier_paused_seconds") == 0
    board.slots("sender")[1].reals[scoreboard.PAUSED_UNTIL] = time.monotonic() + 100
    assert value(board, "courier_paused_seconds") == pytest.approx(100, abs=5)
    board.slots("sender")[1].reals[scoreboard.PAUSED_UNTIL] = time.monotonic() - 100
    assert value(board, "courier_paused_seconds") == 0


def test_instants_are_unix_time(board: Scoreboard) -> None:
    assert value(board, "courier_last_receive_timestamp_seconds") == 0
    board.slots("consumer")[1].reals[scoreboard.LAST_RECEIVE] = time.monotonic() - 10
    assert value(board, "courier_last_receive_timestamp_seconds") == pytest.approx(time.time() - 10, abs=5)
    assert value(board, "courier_start_time_seconds") == pytest.approx(time.time(), abs=5)


def test_workers_are_counted_by_role_and_state(board: Scoreboard) -> None:
    board.slots("sender")[2].words[scoreboard.STATE] = scoreboard.STARTING
    assert value(board, "courier_workers", role="sender", state="ready") == 2
    assert value(board, "courier_workers", role="sender", state="starting") == 1
    assert value(board, "courier_workers", role="consumer", state="draining") == 0


def test_every_series_is_there_from_the_start_and_none_joins_later(board: Scoreboard) -> None:
    before = set(series(families(Scoreboard.create({"api": 1, "auditor": 1, "sender": 3, "consumer": 2}))))
    for slot in (slot for role in board.roles() for slot in board.slots(role)):
        for area, size in scoreboard.AREAS.items():
            for word in range(area, area + size):
                slot.words[word] += 1
    assert set(series(families(board))) == before
    assert ("courier_retried_total", (("reason", REASONS[-1]),)) in before
    errors = [labels for name, labels in before if name == "courier_sqs_errors_total"]
    assert len(errors) == len(ACTIONS) * (len(RESULTS) - 1)


def test_names_keep_the_rules(board: Scoreboard) -> None:
    for family in families(board):
        assert family.name.startswith("courier_")
        assert family.documentation.endswith(".")
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        else:
            assert not family.name.endswith("_total")
        assert not re.search(r"_(ms|millis|kb|mb|minutes)\b", family.name)


def test_the_page_names_every_metric_with_its_type_and_labels_and_no_other(board: Scoreboard) -> None:
    told = {
        name: (kind, set(filter(None, labels.strip("{}").split(","))))
        for name, labels, kind in re.findall(
            r"^\| `(courier_\w+)(\{[\w,]+\})?` \| (\w+) \|", METRICS_PAGE.read_text(), re.M
        )
    }
    there = {}
    for family in families(board):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        there[name] = (family.type, {label for s in family.samples for label in s.labels} - {"le"})
    assert told == there


def test_the_page_names_every_value_of_a_label_and_its_alerts_name_what_exists(board: Scoreboard) -> None:
    page = METRICS_PAGE.read_text()
    for label in (*REASONS, *ACTIONS, *RESULTS[1:]):
        assert f"`{label}`" in page
    existing = {sample.name for family in families(board) for sample in family.samples}
    alerts = page[page.index("## Alerts") :]
    assert set(re.findall(r"courier_\w+", alerts)) <= existing


def test_what_sqs_holds_is_not_a_number_until_sqs_says_it(board: Scoreboard) -> None:
    for state in ("waiting", "delayed", "in flight"):
        assert math.isnan(value(board, "courier_queue_messages", state=state))
    for queue in ("dead-letter queue", "failure queue"):
        assert math.isnan(value(board, "courier_dead_letters", queue=queue))
    assert math.isnan(value(board, "courier_queue_oldest_seconds"))
    assert value(board, "courier_queue_asked_timestamp_seconds") == 0
    now, auditor = time.monotonic(), board.slots("auditor")[0]
    write_depth(auditor, SOURCE, QueueDepth(5, 6, 7), now)
    write_depth(auditor, DEAD_LETTERS, QueueDepth(1, 0, 1), now)
    OldestReceived(board.slots("consumer")[0]).note(round((time.time() - 42.0) * 1000), now)
    shown = [value(board, "courier_queue_messages", state=state) for state in ("waiting", "delayed", "in flight")]
    assert shown == [5, 6, 7]
    assert value(board, "courier_dead_letters", queue="dead-letter queue") == 2
    assert value(board, "courier_queue_oldest_seconds") == pytest.approx(42, abs=5)
    assert value(board, "courier_queue_asked_timestamp_seconds") == pytest.approx(time.time(), abs=5)


def test_workers_on_standby_are_not_on_duty(board: Scoreboard) -> None:
    assert value(board, "courier_workers_on_duty", role="sender") == 2
    board.slots("sender")[1].words[scoreboard.DUTY] = OFF
    assert value(board, "courier_workers_on_duty", role="sender") == 1
    board.slots("sender")[0].reals[scoreboard.BEAT] = time.monotonic() - SILENT_SECONDS
    assert value(board, "courier_workers_on_duty", role="sender") == 0
    assert value(board, "courier_workers_on_duty", role="consumer") == 2


def test_memory_is_the_sum_over_the_processes_of_a_role(board: Scoreboard) -> None:
    for slot in (slot for role in board.roles() for slot in board.slots(role)):
        slot.words[scoreboard.PID] = 0
    for slot in board.slots("sender")[:2]:
        slot.words[scoreboard.PID] = os.getpid()
    found = value(board, "courier_memory_bytes", role="sender")
    assert found > 2_000_000
    assert value(board, "courier_memory_bytes", role="auditor") == 0
