"""The API of ``python -m courier``: it tells what the recipient and the queue saw, and its death hurts nobody."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from courier.local.exchange import Response
from tests.integration.sqs_endpoints import running_virtual_queue
from tests.process.conftest import Start
from tests.process.faulty_sqs import FAILURE, FaultySqs
from tests.process.world import Courier, Delivery, Queue, Recipient, after, alive, bodies, kill, until

ANY_PORT = "127.0.0.1:0"


class Api:
    """The API of a run, found by what the log says of it: a new one may have another port."""

    def __init__(self, courier: Courier) -> None:
        self.courier = courier

    @property
    def url(self) -> str:
        def listening() -> list[str]:
            return re.findall(r'event="api listening" url=(\S+)', self.courier.log())

        until(listening, explain=self.courier.log)
        return listening()[-1]

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask; gives (0, the error) where nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.read()
        except OSError as error:
            return 0, str(error).encode()

    def ready(self) -> tuple[int, Any]:
        code, body = self.get("/status/ready")
        return code, json.loads(body) if code else body

    def reasons(self) -> list[str]:
        """The reasons for which it isn't ready; none where it is or where nobody answers."""
        code, answer = self.ready()
        return list(answer["reasons"]) if code == 503 else []

    def metrics(self) -> dict[str, float]:
        """Scrape; gives values by series as Prometheus writes it, such as ``courier_retried_total{reason="5xx"}``."""
        code, body = self.get("/metrics")
        assert code == 200, body
        found = {}
        for family in text_string_to_metric_families(body.decode()):
            for sample in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found


@pytest.fixture
def start_api(start: Start) -> Start:
    """Start ``python -m courier`` with an API on a free port, and wait until it's ready; what is left is killed."""

    def start_with_api(queue: Queue, *options: str, **environ: Any) -> Courier:
        # A drain waits for the end of a long poll.
        return start(queue, *options, **({"COURIER_API": ANY_PORT, "COURIER_WAIT_TIME": "1"} | environ))

    return start_with_api


def by_reason(metrics: dict[str, float], metric: str = "retried_total") -> dict[str, float]:
    counts = {
        re.sub(r'.*reason="(.*)".*', r"\1", name): v
        for name, v in metrics.items()
        if name.startswith(f"courier_{metric}{{")
    }
    return {reason: count for reason, count in counts.items() if count}


def test_the_metrics_are_what_the_recipient_and_the_queue_saw(
    queue: Queue, recipient: Recipient, start_api: Start
) -> None:
    statuses = (503, 429, 404, 302)
    answered: Counter[int] = Counter()

    def behave(delivery: Delivery) -> Response:
        number = json.loads(delivery.body)["n"]
        status = statuses[number % 16] if number % 16 < len(statuses) and delivery.number == 1 else 200
        answered[status] += 1
        return Response(status)

    recipient.behave = behave
    sent = queue.send(bodies(240))
    courier = start_api(queue, "--backoff-base", "0.1", "--backoff-cap", "1")
    api = Api(courier)
    until(lambda: api.metrics()["courier_deleted_total"] == 240, explain=courier.log)
    until(lambda: api.metrics()["courier_held"] == 0)
    requests = len(recipient.deliveries)
    # What a sender has gathered for its histograms is on the board a tenth of a second later.
    until(lambda: api.metrics()["courier_delivery_seconds_count"] == requests)
    got = api.metrics()
    assert queue.counts() == (0, 0)
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert by_reason(got) == {"5xx": answered[503], "429": answered[429], "404": answered[404], "3xx": answered[302]}
    # Before the first delivery one may be tried again in memory, which costs no receive.
    received = int(got["courier_received_total"])
    assert 240 + 50 <= received <= requests == 240 + 60
    assert got["courier_delivered_total"] == got["courier_recorded_total"] == answered[200] == 240
    assert got["courier_visibility_changed_total"] == received - 240
    assert got["courier_end_to_end_seconds_count"] == 240
    assert 0 < got["courier_end_to_end_seconds_sum"] < 240 * 60
    assert 0 < got["courier_audit_sync_seconds_count"] <= 240
    assert got['courier_sqs_calls_total{action="DeleteMessageBatch"}'] >= 24
    assert got['courier_sqs_calls_total{action="ReceiveMessage"}'] >= requests / 10
    assert not any(value for name, value in got.items() if "sqs_errors" in name or "restarts" in name)
    assert got['courier_channel_depth{channel="work"}'] == got['courier_channel_depth{channel="acks"}'] == 0
    assert got["courier_in_flight"] == 0
    assert [got[f'courier_workers{{role="{role}",state="ready"}}'] for role in ("consumer", "sender")] == [2, 4]
    shown = json.loads(api.get("/status")[1])
    assert (shown["state"], shown["totals"]["delivered"], shown["settings"]["queue"]) == ("ready", 240, queue.name)
    assert courier.drain() == 0


def test_a_recipient_that_cannot_be_reached_is_told_by_its_reason(
    queue: Queue, start_api: Start, free_port: int
) -> None:
    queue.send(bodies(3))
    courier = start_api(queue, "--recipient-url", f"http://127.0.0.1:{free_port}/")
    api = Api(courier)
    until(lambda: sum(by_reason(api.metrics()).values()) >= 3, explain=courier.log)
    assert set(by_reason(api.metrics())) == {"connection refused"}
    # A recipient that is down is no reason to restart Courier, or to take it out of anything.
    assert api.ready() == (200, {"ready": True})
    assert courier.drain() == 0


def test_rejections_are_told_by_the_reason_of_the_last_attempt(
    queue: Queue, recipient: Recipient, start_api: Start, virtual_queue: str
) -> None:
    failures = Queue(virtual_queue)
    behaviours = {b"wrong": lambda d: Response(422), b"good": lambda d: Response(200), b"slow": after(60.0)}
    recipient.behave = lambda d: behaviours[d.body](d)
    queue.send(["wrong", "slow"])
    options = ["--failure-queue", failures.name, "--max-receives", "2", "--retry-delay", "0"]
    courier = start_api(queue, *options, "--timeout", "0.5", "--connect-timeout", "0.5")
    api = Api(courier)
    # Without another that is delivered, it would be the recipient that is slow.
    until(lambda: queue.send(["good"]) and failures.counts() == (2, 0), 30, courier.log, every=0.5)
    assert by_reason(api.metrics(), "rejected_total") == {"422": 1, "timeout": 1}
    status = json.loads(api.get("/status")[1])
    assert status["totals"]["rejected"] == 2
    assert courier.drain() == 0


def test_an_open_breaker_is_told_with_the_limit_and_what_comes_next(
    queue: Queue, recipient: Recipient, start_api: Start
) -> None:
    recipient.behave = lambda d: Response(503)
    queue.send(bodies(60))
    courier = start_api(queue, "--breaker-threshold", "3", "--breaker-cool-down", "3")
    api = Api(courier)
    until(lambda: api.metrics()["courier_breaker_state"] == 1, explain=courier.log)
    shown = json.loads(api.get("/status")[1])
    assert shown["breaker"]["openings"] >= 1
    assert shown["breaker"]["faults_in_a_row"] >= 3
    until(lambda: api.metrics()["courier_limit"] == 0, explain=courier.log)
    recipient.behave = lambda d: Response(200)
    until(lambda: api.metrics()["courier_breaker_state"] == 0, 30, courier.log)
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert json.loads(api.get("/status")[1])["breaker"]["state"] == "closed"
    assert courier.drain() == 0


def test_a_drain_is_told_by_503_until_it_is_over_and_an_open_connection_does_not_hold_it_up(
    queue: Queue, recipient: Recipient, start_api: Start
) -> None:
    recipient.behave = after(6.0)
    queue.send(bodies(3))
    courier = start_api(queue)
    api = Api(courier)
    idle = http.client.HTTPConnection(api.url.removeprefix("http://"), timeout=10)
    idle.request("GET", "/status/health")
    assert idle.getresponse().read() == b"{}"
    assert api.ready() == (200, {"ready": True})
    until(lambda: len(recipient.open) == 3, explain=courier.log)
    courier.signal(signal.SIGTERM)
    until(lambda: api.reasons() == ["draining"], 6.0, courier.log)
    assert api.get("/status/health") == (200, b"{}")
    metrics = api.metrics()
    assert (metrics["courier_draining"], metrics["courier_ready"]) == (1, 0)
    assert courier.wait(30) == 0
    assert idle.sock is None or idle.sock.recv(1) == b""
    assert "event=stopped exit_code=0" in courier.log()


def fill(path: Path) -> None:
    """Write a file that takes all that is left of a disk."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


SMALL_DISK = ("sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$DISK" && exec "$@"', "sh")


@pytest.fixture
def on_a_small_disk() -> list[str]:
    """A command that runs another one with a disk of one MiB at $DISK, which nobody else sees."""
    if os.getuid() == 0:
        return ["unshare", "-m", *SMALL_DISK]
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("neither root nor user namespaces")
    return ["unshare", "-Urm", *SMALL_DISK]


def test_a_full_audit_disk_is_known_within_seconds_though_nothing_is_delivered(
    queue: Queue, start_api: Start, tmp_path: Path, on_a_small_disk: list[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    courier = start_api(queue, prefix=on_a_small_disk, DISK=str(disk), COURIER_AUDIT_PATH=str(disk / "audit"))
    api = Api(courier)
    assert api.ready() == (200, {"ready": True})
    filler = Path(f"/proc/{courier.pid}/root{disk}/filler")
    fill(filler)
    until(lambda: api.reasons() == ["audit failing"], 10.0, courier.log)
    metrics = api.metrics()
    assert metrics["courier_audit_failing"] == 1
    assert metrics["courier_audit_failures_total"] >= 1
    filler.unlink()
    until(lambda: api.ready() == (200, {"ready": True}), 10.0, courier.log)
    assert api.metrics()["courier_audit_failing"] == 0
    assert courier.drain() == 0


def test_a_queue_that_goes_away_is_told_and_forgotten_when_it_is_back(
    recipient: Recipient, tmp_path: Path, free_port: int
) -> None:
    serving = ("--port", str(free_port), "--queue", "orders")
    courier = None
    try:
        with running_virtual_queue(*serving) as endpoint:
            courier = Courier("orders", recipient.url, tmp_path, "--api", ANY_PORT, endpoint=endpoint)
            api = Api(courier.wait_ready())
            assert api.ready() == (200, {"ready": True})
            assert api.metrics()["courier_last_receive_timestamp_seconds"] == 0
        until(lambda: api.reasons() == ["queue unreachable: ReceiveMessage: network"], 20.0, courier.log)
        assert api.metrics()['courier_sqs_errors_total{action="ReceiveMessage",code="network"}'] > 0
        with running_virtual_queue(*serving) as endpoint:
            until(lambda: api.ready() == (200, {"ready": True}), 40.0, courier.log)
            assert courier.drain() == 0
    finally:
        if courier is not None:
            courier.kill()


def test_no_api_means_no_process_and_no_port(queue: Queue, recipient: Recipient, start_api: Start) -> None:
    sent = queue.send(bodies(20))
    courier = start_api(queue, "--api", "none", COURIER_API="127.0.0.1:1")
    until(lambda: recipient.accepted == dict.fromkeys(sent, 1), explain=courier.log)
    assert courier.pids("api") == []
    assert "api listening" not in courier.log()
    assert courier.drain() == 0


def test_a_port_in_use_is_said_in_one_line_before_anything_is_received(
    queue: Queue, recipient: Recipient, tmp_path: Path
) -> None:
    queue.send(bodies(20))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        courier = Courier(queue.name, recipient.url, tmp_path, "--api", where, endpoint=queue.endpoint)
        assert courier.wait(30) == 3
    (line,) = [line for line in courier.log().splitlines() if "level=info" not in line]
    assert f"--api: cannot listen on {where}" in line
    assert "event=started" not in courier.log()
    assert queue.counts() == (20, 0)


def test_sigkill_of_the_api_hurts_nobody_and_the_next_one_has_the_same_numbers(
    queue: Queue, recipient: Recipient, start_api: Start, free_port: int
) -> None:
    sent = queue.send(bodies(50))
    courier = start_api(queue, "--api", f"127.0.0.1:{free_port}")
    api = Api(courier)
    until(lambda: api.metrics()["courier_deleted_total"] == 50, explain=courier.log)
    (first,) = courier.pids("api")
    others = {role: courier.pids(role) for role in ("auditor", "sender", "consumer")}
    kill(first, signal.SIGKILL)
    sent += queue.send(bodies(50))
    until(lambda: recipient.accepted == dict.fromkeys(sent, 1), explain=courier.log)
    until(lambda: api.ready() == (200, {"ready": True}), explain=courier.log)
    assert courier.pids("api") != [first]
    assert {role: courier.pids(role) for role in others} == others
    until(lambda: api.metrics()["courier_deleted_total"] == 100, explain=courier.log)
    assert api.metrics()['courier_worker_restarts_total{cause="signal",role="api"}'] == 1
    assert courier.drain() == 0


def test_no_counter_falls_when_a_worker_is_replaced_and_the_cause_is_counted(
    queue: Queue, recipient: Recipient, start_api: Start
) -> None:
    sent = queue.send(bodies(60))
    # What SQS hands to a poll whose consumer was killed a moment ago comes back after the visibility timeout.
    courier = start_api(queue, "--senders", "2", "--visibility-timeout", "5")
    api = Api(courier)
    until(lambda: api.metrics()["courier_deleted_total"] == 60, explain=courier.log)
    before = api.metrics()
    for role in ("sender", "auditor", "consumer"):
        for pid in courier.pids(role):
            kill(pid, signal.SIGKILL)
            until(lambda: not alive(pid))  # noqa: B023 - it's called in this turn
    until(lambda: api.ready() == (200, {"ready": True}), explain=courier.log)
    sent += queue.send(bodies(60))
    until(lambda: recipient.accepted == dict.fromkeys(sent, 1), explain=courier.log)
    later = api.metrics()
    counters = [name for name in before if re.search(r"_(total|bucket|count)\b", name)]
    assert [name for name in counters if later[name] < before[name]] == []
    assert later['courier_worker_restarts_total{cause="signal",role="sender"}'] == 2
    assert later['courier_worker_restarts_total{cause="signal",role="auditor"}'] == 1
    assert later['courier_worker_restarts_total{cause="exit",role="sender"}'] == 0
    until(lambda: api.metrics()["courier_deleted_total"] == 120, explain=courier.log)
    assert courier.drain() == 0


def test_a_hung_worker_is_counted_as_hung(queue: Queue, recipient: Recipient, start_api: Start) -> None:
    courier = start_api(queue, "--senders", "2", "--hang-timeout", "3")
    api = Api(courier)
    kill(courier.pids("sender")[0], signal.SIGSTOP)
    name = 'courier_worker_restarts_total{cause="hung",role="sender"}'
    until(lambda: api.metrics()[name] == 1, explain=courier.log)
    assert courier.drain() == 0


def test_a_signal_to_all_of_a_container_does_not_end_the_api_before_the_others(
    queue: Queue, recipient: Recipient, start_api: Start
) -> None:
    courier = start_api(queue)
    api = Api(courier)
    (pid,) = courier.pids("api")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        kill(pid, number)
    assert api.ready() == (200, {"ready": True})
    assert courier.pids("api") == [pid]
    assert courier.drain() == 0


def test_an_api_that_hangs_is_left_behind_by_a_drain(queue: Queue, recipient: Recipient, start_api: Start) -> None:
    sent = queue.send(bodies(20))
    courier = start_api(queue, "--drain-timeout", "4")
    until(lambda: recipient.accepted == dict.fromkeys(sent, 1), explain=courier.log)
    kill(courier.pids("api")[0], signal.SIGSTOP)
    assert courier.drain(30) == 0


@pytest.fixture
def stopped_sender(queue: Queue, recipient: Recipient, start_api: Start) -> Iterator[Courier]:
    courier = start_api(queue, "--senders", "2")
    (pid, _) = courier.pids("sender")
    kill(pid, signal.SIGSTOP)
    yield courier
    kill(pid, signal.SIGCONT)
    assert courier.drain() == 0


def test_the_stacks_are_those_of_every_process_and_one_that_is_stopped_says_so(stopped_sender: Courier) -> None:
    api = Api(stopped_sender)
    for _ in range(2):
        code, body = api.get("/debug/stacks")
        assert code == 200
        dumps = dict(re.findall(r"^--- (\w+ \d+), pid \d+\n(.*?)(?=^--- |\Z)", body.decode(), re.DOTALL | re.MULTILINE))
        assert set(dumps) == {"api 0", "auditor 0", "sender 0", "sender 1", "consumer 0", "consumer 1", "supervisor 0"}
        stopped, *running = sorted(dumps.values(), key=lambda text: "most recent call first" in text)
        assert stopped.startswith("no answer within")
        assert all("most recent call first" in text for text in running)
        assert "in _turn" in dumps["supervisor 0"]


def test_a_failure_queue_that_takes_nothing_is_told_until_it_takes_the_rejected_messages(
    recipient: Recipient, start_api: Start
) -> None:
    sqs = FaultySqs()
    try:
        queue, failures = Queue(sqs.endpoint), Queue(sqs.endpoint)
        recipient.behave = lambda d: Response(422)
        # Three at the start would rather be a recipient that refuses everything.
        queue.send(bodies(2))
        sqs.faults.calls["SendMessageBatch"] = FAILURE
        courier = start_api(queue, "--failure-queue", failures.name)
        api = Api(courier)
        until(lambda: api.reasons(), 20.0, courier.log)
        assert api.reasons() == ["failure queue unreachable: SendMessageBatch: server error"]
        assert (queue.counts(), failures.counts()) == ((0, 2), (0, 0))
        del sqs.faults.calls["SendMessageBatch"]
        until(lambda: api.ready() == (200, {"ready": True}), 20.0, courier.log)
        until(lambda: (queue.counts(), failures.counts()) == ((0, 0), (2, 0)), explain=courier.log)
        assert courier.drain() == 0
    finally:
        sqs.stop()
