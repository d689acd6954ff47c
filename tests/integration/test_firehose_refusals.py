"""A Firehose stream that goes on refusing records: what isn't in it is told, and told apart from what is."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest

from courier.audit import firehose
from courier.audit.firehose import RetryBudget
from courier.audit.firehose_stream import Calling
from courier.errors import AuditError
from courier.recipient.policy import Backoff
from scripts.faults.firehose_server import BEFORE, GOOD, SLOW_DOWN, Call, Fate, Firehose
from tests.integration.firehose_places import SHORT, OpenLog, failure, lines, open_log, server
from tests.integration.misbehaving_server import MisbehavingServer, Peer, answer
from tests.unit.sqs.aws_environment import no_aws, static_keys

__all__ = ["no_aws", "open_log", "server", "static_keys"]

pytestmark = pytest.mark.usefixtures("static_keys")


def test_what_is_in_the_stream_when_the_patience_ends_is_told_from_what_is_not(
    server: Firehose, open_log: OpenLog
) -> None:
    bad = {b"line 3\n", b"line 700\n", b"line 999\n"}
    server.behave = lambda call: Fate(refuse=[n for n, record in enumerate(call.records) if record in bad])
    log = open_log(server, SHORT)
    sent = [b"line %d\n" % n for n in range(1000)]
    error = failure(log, sent)
    assert error.failed == [3, 700, 999]
    assert "3 of 1000 records" in str(error)
    assert "Slow down." in str(error)
    assert set(server.stored) == set(sent) - bad
    server.behave = lambda call: GOOD
    log.append([sent[n] for n in error.failed])
    assert Counter(server.stored) == Counter(sent)


def test_a_stream_that_throttles_on_and_on_is_given_up_and_taken_up_again(server: Firehose, open_log: OpenLog) -> None:
    server.behave = lambda call: Fate(error=SLOW_DOWN)
    log = open_log(server, SHORT)
    error = failure(log, lines(5))
    assert error.failed == [0, 1, 2, 3, 4]
    assert SLOW_DOWN in str(error)
    assert not server.stored
    server.behave = lambda call: GOOD
    log.append(lines(5))
    assert server.stored == lines(5)


def test_nobody_listening_is_told_with_the_endpoint(server: Firehose, open_log: OpenLog) -> None:
    log = open_log(server, SHORT)
    server.stop()
    error = failure(log, [b"a\n"])
    assert error.failed == [0]
    assert f"can't be reached at {server.url}" in str(error)


def test_a_denied_call_is_told_at_once_with_the_action_to_allow(server: Firehose, open_log: OpenLog) -> None:
    server.denied.add("PutRecordBatch")
    error = failure(open_log(server), lines(3))
    assert "firehose:PutRecordBatch" in str(error)
    assert error.failed == [0, 1, 2]


def test_a_call_refused_for_good_leaves_what_others_took(server: Firehose, open_log: OpenLog) -> None:
    server.behave = lambda call: Fate(error="InvalidKMSResourceException") if call.records[0] == b"500\n" else GOOD
    sent = [b"%d\n" % n for n in range(1500)]
    error = failure(open_log(server), sent)
    assert error.failed == list(range(500, 1000))
    assert set(server.stored) == {*sent[:500], *sent[1000:]}


def test_a_record_that_is_too_large_after_all_takes_nobody_along(server: Firehose, open_log: OpenLog) -> None:
    huge = b"x" * 4_000_000
    error = failure(open_log(server), [b"a\n", huge, b"b\n"])
    assert error.failed == [1]
    assert set(server.stored) == {b"a\n", b"b\n"}


JSON = b"Content-Type: application/x-amz-json-1.1\r\n"


def http(body: bytes, length: int | None = None, kind: bytes = JSON) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + kind + b"Content-Length: %d\r\n\r\n" % (length or len(body)) + body


@pytest.mark.parametrize(
    "response",
    [
        http(b"<html>It works!</html>", kind=b"Content-Type: text/html\r\n"),
        http(b"{}"),
        http(b""),
        http(b'{"FailedPutCount":0,"RequestResponses":[]}'),
        http(b'{"FailedPutCount":0,"RequestResponses":[{"RecordId":"1"},{"RecordId":"2"}]}'),
        http(b'{"FailedPutCount":1,"RequestResponses":[{"RecordId":"1"}]}'),
        http(b'{"FailedPutCount":0,"RequestResponses":[{}]}'),
        http(b'{"FailedPutCount":0,"RequestResponses":[{"RecordId":"1"}]'),
        http(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
    ],
)
def test_no_answer_but_firehoses_own_confirms_a_record(response: bytes, open_log: OpenLog) -> None:
    with MisbehavingServer(answer(response)) as server:
        log = open_log(f"http://127.0.0.1:{server.port}", RetryBudget(0.05), Calling(read_seconds=0.2))
        assert failure(log, [b"a\n"]).failed == [0]


def test_an_answer_that_is_cut_off_confirms_nothing(open_log: OpenLog) -> None:
    body = b'{"FailedPutCount":0,"RequestResponses":[{"RecordId":"1"}]}'

    def cut(peer: Peer) -> None:
        peer.read_request()
        peer.send(http(body[:-1], length=len(body)))

    with MisbehavingServer(cut) as server:
        log = open_log(f"http://127.0.0.1:{server.port}", SHORT)
        assert failure(log, [b"a\n"]).failed == [0]


def test_calls_that_never_end_are_given_up_and_later_ones_get_through(server: Firehose, open_log: OpenLog) -> None:
    trickling = threading.Event()

    def trickle(peer: Peer) -> None:
        peer.read_request()
        trickling.set()
        peer.trickle(http(b" " * 20_000))

    with MisbehavingServer(trickle) as slow:
        log = open_log(f"http://127.0.0.1:{slow.port}", RetryBudget(0.1), Calling(5.0, 1.0, calls=2))
        error = failure(log, lines(1500))
        assert trickling.is_set()
        assert error.failed == list(range(1500))
        assert "hang" in str(error)
        log._stream = log._stream._replace(endpoint_url=server.url)
        log.open()
        log.append([b"a\n"])
    assert server.stored == [b"a\n"]


def test_calls_that_did_not_get_their_turn_are_told(server: Firehose, open_log: OpenLog) -> None:
    server.behave = lambda call: Fate(delay=0.4)
    error = failure(open_log(server, RetryBudget(0.2), Calling(calls=1)), lines(1500))
    assert error.failed == list(range(500, 1500))
    assert "too slowly" in str(error)


# Credentials, and the rest of the protocol.


def test_refused_keys_are_looked_up_again(
    server: Firehose, open_log: OpenLog, no_aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setattr(firehose, "RENEW_SECONDS", 0.0)
    file = no_aws / "credentials"
    file.write_text("[default]\naws_access_key_id = OLD\naws_secret_access_key = s\n")
    log = open_log(server)
    log.append([b"a\n"])
    server.unknown_keys.add("OLD")
    assert "does not know the access key" in str(failure(log, [b"b\n"]))
    file.write_text("[default]\naws_access_key_id = NEW\naws_secret_access_key = s\n")
    log.append([b"b\n"])
    assert server.stored == [b"a\n", b"b\n"]
    assert [call.access_key for call in server.calls] == ["OLD", "NEW"]


def test_keys_that_are_gone_are_told_and_found_when_they_are_back(
    server: Firehose, open_log: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firehose, "RENEW_SECONDS", 0.0)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    log = open_log(server)
    assert "no AWS credentials found" in str(failure(log, [b"a\n"]))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    log.append([b"a\n"])
    assert server.stored == [b"a\n"]


def test_a_profile_that_vanishes_is_an_audit_error_and_no_crash(
    server: Firehose, open_log: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firehose, "RENEW_SECONDS", 0.0)
    log = open_log(server)
    server.unknown_keys.add("AKIDEXAMPLE")
    failure(log, [b"a\n"])
    monkeypatch.setenv("AWS_PROFILE", "gone")
    assert "gone" in str(failure(log, [b"a\n"]))
    monkeypatch.delenv("AWS_PROFILE")
    server.unknown_keys.clear()
    log.append([b"a\n"])


def test_a_probe_repeats_the_last_word_of_the_stream_and_writes_nothing(server: Firehose, open_log: OpenLog) -> None:
    log = open_log(server, SHORT)
    log.probe()
    server.behave = lambda call: Fate(cut=BEFORE)
    failure(log, [b"a\n"])
    with pytest.raises(AuditError, match="can't be reached"):
        log.probe()
    server.behave = lambda call: GOOD
    log.append([b"a\n"])
    log.rotate()
    log.probe()
    assert server.stored == [b"a\n"]


def test_a_closed_log_lets_go_of_what_still_backs_off(server: Firehose, open_log: OpenLog) -> None:
    refused = threading.Event()

    def throttle(call: Call) -> Fate:
        refused.set()
        return Fate(error=SLOW_DOWN)

    server.behave = throttle
    log = open_log(server, RetryBudget(60.0, Backoff(600.0, 600.0)))
    errors: list[AuditError] = []
    appending = threading.Thread(target=lambda: errors.append(failure(log, [b"a\n"])))
    appending.start()
    assert refused.wait(10)
    log.close()
    appending.join(10)
    assert not appending.is_alive()
    assert errors[0].failed == [0]
