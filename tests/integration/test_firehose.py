"""Records in a Firehose stream, on moto and on a Firehose that fails in passing: each at least once, none missing."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from courier.audit.firehose import CALLING, FirehoseLog
from courier.audit.firehose_stream import Calling
from scripts.faults.firehose_server import AFTER, GOOD, Call, Fate, Firehose, at_random
from tests.integration.firehose_places import LONG, OpenLog, Place, failure, lines, open_log, place, server
from tests.unit.sqs.aws_environment import no_aws, static_keys

__all__ = ["no_aws", "open_log", "place", "server", "static_keys"]

pytestmark = pytest.mark.usefixtures("static_keys")

# On both.


def test_every_line_is_in_the_stream_once_and_whole(place: Place) -> None:
    log = FirehoseLog(place.stream)
    log.open()
    sent = lines(1203)
    log.append(sent)
    log.append([])
    log.append([b"last\n"])
    log.close()
    assert sorted(place.content().splitlines(keepends=True)) == sorted([*sent, b"last\n"])


def test_large_lines_are_spread_over_calls(place: Place) -> None:
    log = FirehoseLog(place.stream)
    log.open()
    sent = lines(9, 1_000_000)
    log.append(sent)
    log.close()
    assert sorted(place.content().splitlines(keepends=True)) == sent


def test_a_stream_that_is_missing_is_told_at_once_and_without_a_second_try(place: Place) -> None:
    log = FirehoseLog(place.stream._replace(name="no-such-stream"), patience=LONG)
    log.open()
    error = failure(log, lines(2))
    log.close()
    assert error.failed == [0, 1]
    assert "'no-such-stream' in us-east-1" in str(error)
    assert "--firehose-stream" in str(error)


# Refusals in passing.


def test_only_the_refused_records_are_sent_again(server: Firehose, open_log: OpenLog) -> None:
    server.behave = at_random(1, refuse=0.5)
    sent = lines(1500)
    open_log(server).append(sent)
    assert Counter(server.stored) == Counter(sent)
    assert sum(len(call.records) for call in server.calls) < 3 * len(sent)


def test_throttled_calls_are_repeated_until_they_are_taken(server: Firehose, open_log: OpenLog) -> None:
    server.behave = at_random(2, throttle=0.7)
    sent = lines(2000)
    open_log(server).append(sent)
    assert Counter(server.stored) == Counter(sent)


def test_a_connection_cut_before_the_write_repeats_nothing(server: Firehose, open_log: OpenLog) -> None:
    server.behave = at_random(3, cut_before=0.5)
    sent = lines(2000)
    open_log(server).append(sent)
    assert Counter(server.stored) == Counter(sent)
    assert len(server.calls) > 4


def test_a_connection_cut_after_the_write_repeats_only_what_got_no_answer(server: Firehose, open_log: OpenLog) -> None:
    server.behave = lambda call: Fate(cut=AFTER) if call.number == 1 else GOOD
    sent = lines(1000)
    open_log(server).append(sent)
    assert Counter(server.stored) == Counter(sent) + server.unanswered
    assert len(server.unanswered) == 500


def test_an_answer_that_comes_too_late_is_taken_for_a_write_that_may_have_happened(
    server: Firehose, open_log: OpenLog
) -> None:
    server.behave = lambda call: Fate(delay=30.0) if call.number == 0 else GOOD
    open_log(server, calling=Calling(read_seconds=0.3)).append([b"a\n"])
    assert server.stored == [b"a\n", b"a\n"]
    assert server.unanswered[b"a\n"] == 1


@pytest.mark.parametrize("seed", range(5))
def test_under_all_faults_at_once_none_is_missing_and_none_repeated_but_for_lost_answers(
    server: Firehose, open_log: OpenLog, seed: int
) -> None:
    server.behave = at_random(seed, refuse=0.5, throttle=0.2, cut_before=0.1, cut_after=0.1)
    sent = lines(3000)
    open_log(server).append(sent)
    stored = Counter(server.stored)
    assert set(stored) == set(sent)
    assert all(count <= 1 + server.unanswered[record] for record, count in stored.items())


def test_calls_are_made_side_by_side(server: Firehose, open_log: OpenLog) -> None:
    together = threading.Event()

    def wait_for_others(call: Call) -> Fate:
        if server.under_way == CALLING.calls:
            together.set()
        return GOOD if together.is_set() else Fate(delay=0.3)

    server.behave = wait_for_others
    open_log(server).append(lines(500 * CALLING.calls))
    assert server.most_under_way == CALLING.calls
