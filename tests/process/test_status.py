"""The truth of ``/status``: it tells what SQS, the recipient and the kernel say, whoever is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from courier.config.config import OPTIONS
from courier.local.exchange import Response
from tests.process.conftest import Start
from tests.process.faulty_sqs import DENIED, FaultySqs
from tests.process.test_api import Api, start_api
from tests.process.world import Courier, Delivery, Queue, Recipient, bodies, until

__all__ = ["start_api"]


def status_of(courier: Courier) -> dict[str, Any]:
    """Return what /status says; nothing while nobody answers."""
    code, body = Api(courier).get("/status")
    found: dict[str, Any] = json.loads(body) if code == 200 else {}
    return found


def samples_of(courier: Courier, step: str, name: str) -> list[float | None]:
    code, body = Api(courier).get("/status/samples")
    assert code == 200
    found: list[float | None] = json.loads(body)[step]["series"][name]
    return found


def test_status_tells_what_sqs_the_recipient_and_the_kernel_say(
    virtual_queue: str, recipient: Recipient, start_api: Start
) -> None:
    queue, dead = Queue.with_dead_letters(virtual_queue, 1)
    failures = Queue(virtual_queue)
    dead.send(bodies(7))
    failures.send(bodies(2))

    def behave(delivery: Delivery) -> Response:
        return Response(503 if json.loads(delivery.body)["n"] == 0 else 200)

    recipient.behave = behave
    courier = start_api(
        queue, "--failure-queue", failures.name, "--senders", "3", "--visibility-timeout", "20", COURIER_CONSUMERS="1"
    )
    until(lambda: status_of(courier)["queue"]["asked_at"], explain=courier.log)
    shown = status_of(courier)
    assert (shown["queue"]["name"], shown["queue"]["waiting"], shown["queue"]["problem"]) == (queue.name, 0, None)
    assert [(each["queue"], each["is"], each["messages"]) for each in shown["dead_letters"]] == [
        (dead.name, "dead-letter queue", 7),
        (failures.name, "failure queue", 2),
    ]
    assert shown["latency"]["10s"]["delivery"] == {"p50": None, "p90": None, "p99": None}
    queue.send(bodies(60))
    until(lambda: status_of(courier)["totals"]["delivered"] == 59 and status_of(courier)["failures"])
    until(lambda: status_of(courier)["latency"]["300s"]["audit_sync"]["p99"], explain=courier.log)
    shown = status_of(courier)
    for name in ("delivery", "end_to_end", "audit_sync"):
        quantiles = list(shown["latency"]["300s"][name].values())
        assert quantiles == sorted(quantiles)
        assert 0.0 < quantiles[0] <= quantiles[-1] < 60.0
    assert 0.0 <= shown["queue"]["oldest_seconds"] < 60.0
    failure = shown["failures"][0]
    assert (failure["status"], failure["took_seconds"] > 0, failure["count"] > 0) == (503, True, True)
    assert failure["then"].startswith(("again in ", f"to {dead.name}"))
    until(lambda: sum(rate or 0 for rate in samples_of(courier, "second", "delivered")) >= 55)
    assert 0.0 in samples_of(courier, "second", "waiting")
    workers = shown["workers"]
    assert {worker["memory_bytes"] is not None and worker["memory_bytes"] > 1_000_000 for worker in workers} == {True}
    assert {worker["on_duty"] for worker in workers if worker["role"] == "auditor"} == {None}
    settings = {setting["option"]: setting for setting in shown["configuration"]}
    assert set(settings) == {option.key for option in OPTIONS.values()}
    assert settings["senders"] == {"option": "senders", "value": "3", "source": "--senders", "default": False}
    assert settings["consumers"]["source"] == "COURIER_CONSUMERS"
    metrics = Api(courier).metrics()
    assert metrics['courier_dead_letters{queue="dead-letter queue"}'] == 7
    assert metrics['courier_dead_letters{queue="failure queue"}'] == 2
    assert metrics['courier_memory_bytes{role="sender"}'] > 3_000_000
    assert metrics['courier_sqs_calls_total{action="GetQueueAttributes"}'] >= 3
    assert courier.drain() == 0


def test_what_sqs_denies_is_a_problem_that_is_logged_once_and_changes_nothing_else(
    recipient: Recipient, start_api: Start
) -> None:
    sqs = FaultySqs()
    try:
        queue, dead = Queue.with_dead_letters(sqs.endpoint, 5)
        sqs.faults.calls["GetQueueUrl"] = DENIED
        courier = start_api(queue, COURIER_QUEUE=queue.url)
        until(lambda: any(each["problem"] for each in status_of(courier)["dead_letters"]), explain=courier.log)
        shown = status_of(courier)
        assert shown["dead_letters"][0]["messages"] is None
        assert "allow the IAM action sqs:GetQueueUrl" in shown["dead_letters"][0]["problem"]
        assert shown["queue"]["problem"] is None
        assert (shown["state"], shown["reasons"]) == ("ready", [])
        queue.send(bodies(5))
        until(lambda: queue.counts() == (0, 0), explain=courier.log)
        assert courier.drain() == 0
        assert courier.log().count("cannot ask how many messages a queue holds") == 1
        assert "Traceback" not in courier.log()
        assert dead.counts() == (0, 0)
    finally:
        sqs.stop()


@pytest.mark.parametrize("role", ["auditor", "api"])
def test_what_sqs_said_outlives_whoever_asked_and_whoever_showed_it(queue: Queue, start_api: Start, role: str) -> None:
    courier = start_api(queue)
    until(lambda: status_of(courier)["queue"]["asked_at"], explain=courier.log)
    (pid,) = courier.pids(role)
    os.kill(pid, signal.SIGKILL)
    until(lambda: courier.pids(role) not in ([pid], []), explain=courier.log)
    until(lambda: status_of(courier), explain=courier.log)
    shown = status_of(courier)
    assert (shown["queue"]["waiting"], shown["queue"]["problem"]) == (0, None)
    until(
        lambda: (
            {worker["restarts_by"]["signal"] for worker in status_of(courier)["workers"] if worker["role"] == role}
            == {1}
        )
    )
    assert courier.drain() == 0


def test_an_outage_is_in_the_history_with_its_reason(queue: Queue, recipient: Recipient, start_api: Start) -> None:
    recipient.behave = lambda delivery: Response(503)
    courier = start_api(queue, "--breaker-threshold", "2", "--breaker-cool-down", "0.2", "--senders", "1")
    queue.send(bodies(6))
    until(lambda: status_of(courier)["breaker"]["history"], explain=courier.log)
    shown = status_of(courier)["breaker"]
    assert (shown["history"][0]["closed_at"], shown["history"][0]["reason"]) == (None, "status 503")
    recipient.behave = lambda delivery: Response(200)
    until(lambda: status_of(courier)["breaker"]["history"][0]["closed_at"], explain=courier.log)
    (outage,) = status_of(courier)["breaker"]["history"]
    assert outage["opened_at"] < outage["closed_at"] < status_of(courier)["now"]
    assert status_of(courier)["breaker"]["open_seconds_last_hour"] > 0
    assert courier.drain() == 0


def test_after_a_reload_the_settings_are_those_in_force(
    tmp_path: Path, queue: Queue, recipient: Recipient, start_api: Start
) -> None:
    file = tmp_path / "prod.toml"
    file.write_text(f'recipient-url = "{recipient.url}"\nsenders = 2\ntimeout = 20\n')
    courier = start_api(queue, "--config", str(file), COURIER_RECIPIENT_URL="")
    until(lambda: status_of(courier), explain=courier.log)
    assert shown(courier, "timeout") == ("20", "prod.toml")
    file.write_text('recipient-url = "http://127.0.0.1:1/"\nsenders = 3\nbearer-token-file = "/dev/null"\n')
    courier.signal(signal.SIGHUP)
    until(lambda: "cannot reload" in courier.log(), explain=courier.log)
    assert shown(courier, "senders") == ("2", "prod.toml")
    file.write_text('recipient-url = "http://localhost:1/"\nsenders = 3\nconcurrency = 5\n')
    courier.signal(signal.SIGHUP)
    until(lambda: shown(courier, "senders") == ("3", "prod.toml"), explain=courier.log)
    assert shown(courier, "concurrency") == ("5", "prod.toml")
    assert shown(courier, "timeout") == ("30", "default")
    assert shown(courier, "recipient-url") == ("http://localhost:1", "prod.toml")
    assert status_of(courier)["settings"]["recipient_url"] == "http://localhost:1"
    assert "timeout_seconds" not in status_of(courier)["settings"]
    assert courier.drain() == 0


def shown(courier: Courier, option: str) -> tuple[str, str]:
    """Return the value and the source of an option in /status."""
    (setting,) = [each for each in status_of(courier)["configuration"] if each["option"] == option]
    return setting["value"], setting["source"]
