"""The API of several queues: each as a program of one queue has it, and the sum at the root."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.several_queues import Program
from tests.process.world import Queue, Recipient, bodies, children, missing, title, until

Api = Callable[..., Any]


@pytest.fixture
def queues(virtual_queue: str) -> dict[str, Queue]:
    return {name: Queue(virtual_queue) for name in ("orders", "mails")}


@pytest.fixture
def program(tmp_path: Path, recipient: Recipient, queues: dict[str, Queue], free_port: int) -> Iterator[Program]:
    token = tmp_path / "token"
    token.write_text("t" * 40)
    token.chmod(0o600)
    above = {"api": f"127.0.0.1:{free_port}", "page-control": str(token), "senders": 1, "consumers": 1}
    started = Program(tmp_path, recipient.url, queues, **above)
    yield started.wait_until_all_run()
    started.kill()


def get(program: Program, path: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://{program.above['api']}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def status(program: Program, path: str = "/status") -> dict[str, Any]:
    code, body = get(program, path)
    assert code == 200, body
    found: dict[str, Any] = json.loads(body)
    return found


def ready(program: Program) -> bool:
    return get(program, "/status/ready")[0] == 200


def test_each_queue_has_its_own_api_and_the_root_sums_them_up(
    program: Program, queues: dict[str, Queue], recipient: Recipient
) -> None:
    until(lambda: ready(program), explain=program.log)
    sent = [*queues["orders"].send(bodies(7)), *queues["mails"].send(bodies(3))]
    until(lambda: not missing(sent, recipient.accepted), explain=program.log)
    until(lambda: status(program)["totals"]["deleted"] == 10, explain=program.log)
    root = status(program)
    assert {name: each["totals"]["delivered"] for name, each in root["queues"].items()} == {"orders": 7, "mails": 3}
    assert root["state"] == "ready"
    for name, count in (("orders", 7), ("mails", 3)):
        own = status(program, f"/queues/{name}/status")
        assert own["totals"]["delivered"] == count
        assert own["queue"]["name"] == queues[name].name
        assert {each["role"] for each in own["workers"]} >= {"consumer", "sender", "auditor", "supervisor"}
        code, page = get(program, f"/queues/{name}")
        assert code == 200
        # Whatever the page asks for stands beside it.
        assert not re.search(r"""(?:fetch|EventSource|ask)\(["']/""", page)
        assert f'href="queues/{name}/"' in get(program, "/")[1]
    assert get(program, "/queues/nowhere/status")[0] == 404
    assert get(program, "/queues/orders/queues/mails/status")[0] == 404
    code, metrics = get(program, "/metrics")
    assert 'courier_delivered_total{queue="orders"} 7.0' in metrics
    assert 'courier_delivered_total{queue="mails"} 3.0' in metrics
    # Each metric is described once, and each series has the name of its queue.
    described = re.findall(r"^# TYPE (\S+) ", metrics, re.M)
    assert len(described) == len(set(described))
    series = [line for line in metrics.splitlines() if line.startswith("courier_")]
    assert len(series) == len({line.rpartition(" ")[0] for line in series})
    assert [line for line in series if not re.search(r'\{.*\bqueue="(orders|mails)"', line)] == []
    code, metrics = get(program, "/queues/orders/metrics")
    assert "\ncourier_delivered_total 7.0\n" in metrics


def test_the_api_names_the_queue_that_does_not_run_and_shows_those_that_a_reload_adds(
    program: Program, queues: dict[str, Queue], virtual_queue: str
) -> None:
    until(lambda: ready(program), explain=program.log)
    program.write(late={"queue": "not-there"}, mails=None)
    program.signal(signal.SIGHUP)

    def shown() -> set[str]:
        code, body = get(program, "/status")
        return set(json.loads(body)["queues"]) if code == 200 else set()

    def later(condition: Callable[[], object]) -> None:
        # While the new API takes the place of the old one, nobody listens.
        def holds() -> object:
            try:
                return condition()
            except OSError:
                return False

        until(holds, explain=program.log)

    later(lambda: shown() == {"orders", "late"})
    later(lambda: any(reason.startswith("queue late: not running: ") for reason in status(program)["reasons"]))
    assert json.loads(get(program, "/queues/late/status/ready")[1])["reasons"][0].startswith("not running: ")
    assert get(program, "/queues/orders/status/ready")[0] == 200
    said = program.steered.courier("status", "--check", "--queue", "orders")
    assert (said.code, said.out) == (0, "ready\n")
    said = program.steered.courier("status", "--check")
    assert said.code == 1
    assert "queue late: not running" in said.out
    url = f"http://{program.above['api']}"
    said = program.steered.courier("status", "--url", url)
    assert said.code == 0
    assert "2 queues   not ready" in said.out
    assert "orders  ready" in said.out
    said = program.steered.courier("status", "--url", url, "--queue", "orders")
    assert queues["orders"].name in said.out
    # A pause of all is kept for the queue that doesn't run yet.
    said = program.steered.courier("pause", "--queue", "late")
    assert (said.code, said.out) == (0, "the queue will start paused\n")
    queues["orders"].sqs.create_queue(QueueName="not-there")
    later(lambda: status(program, "/queues/late/status")["state"] == "ready")
    assert status(program, "/queues/late/status")["pause"]["reason"] == ""
    # A dead API comes back.
    (api,) = [pid for pid in children(program.pid) if title(pid) == "courier: api 0"]
    os.kill(api, signal.SIGKILL)
    later(lambda: shown() == {"orders", "late"})


def test_the_page_of_a_queue_steers_that_queue_alone(program: Program) -> None:
    until(lambda: ready(program), explain=program.log)
    origin = f"http://{program.above['api']}"
    headers = {"Authorization": f"Bearer {'t' * 40}", "Origin": origin, "Content-Type": "application/json"}
    body = json.dumps({"act": "pause", "reason": "a test"}).encode()
    request = urllib.request.Request(f"{origin}/queues/orders/control", body, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.loads(answer.read())["ok"] is True
    found = status(program)["queues"]
    assert "a test" in found["orders"]["pause"]["reason"]
    assert found["mails"]["pause"] is None
    # Nothing else takes a body, however it is written.
    for path in ("/control", "/queues/orders/status", "/queues/../control", "/queues/orders/control/"):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(f"{origin}{path}", body, headers), timeout=10)
    assert program.steered.courier("resume", "--queue", "orders").code == 0
    assert program.steered.courier("scale", "--queue", "mails", "--senders", "2").code == 0
    until(lambda: len([1 for pid in program.workers("mails") if "sender" in title(pid)]) == 2, explain=program.log)
    assert len([1 for pid in program.workers("orders") if "sender" in title(pid)]) == 1
    assert "there is no such queue" in program.steered.courier("rotate", "--queue", "nowhere").error
    for command in ("status", "tap"):
        said = program.steered.courier(command, "--queue", "nowhere", "--url", origin)
        assert "there is no such queue (status 404); `courier status` lists the queues" in said.error + said.out
