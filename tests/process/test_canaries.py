"""Secrets planted in every place that takes one, and failures of all kinds: no output of the program has them."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from courier.local.exchange import Request, Response
from tests.canaries import EVERY_SECRET, MARK, SECRET, variables
from tests.integration.misbehaving_server import MisbehavingServer, answer
from tests.integration.proxy_server import ProxyServer
from tests.process.world import Courier, Queue, bodies, children, until
from tests.threaded_server import ThreadedServer

AWS = {
    "AWS_ACCESS_KEY_ID": f"AKIA{MARK.upper()}123456",
    "AWS_SECRET_ACCESS_KEY": f"{MARK}/aws+secret/key/0123456789",
    "AWS_SESSION_TOKEN": f"{MARK}/aws+session/token/0123456789==",
}
PASSWORD = f"{MARK}-proxy-password"
FOUND = (
    *(*EVERY_SECRET, AWS["AWS_SECRET_ACCESS_KEY"], AWS["AWS_SESSION_TOKEN"], PASSWORD),
    b64encode(f"someone:{PASSWORD}".encode()).decode().rstrip("="),
)


def leaks(text: str) -> list[str]:
    """Return the lines that have a secret, or a part of one."""
    return [line for line in text.splitlines() if any(secret in line for secret in FOUND) or f"{MARK}-" in line]


def receipts_in(echo: Echo, text: str) -> list[str]:
    """Return the receipt handles that the recipient was sent and a text has."""
    return [receipt for receipt in echo.receipts if receipt in text]


class Echo:
    """A recipient that answers with what it was sent: head, path and query. Some of it as JSON, as HTML or in a URL."""

    def __init__(self) -> None:
        self.status = 200
        self.answered = 0
        self.receipts: list[str] = []
        self.server = ThreadedServer(self._answer)

    def _answer(self, request: Request) -> Response:
        self.answered += 1
        self.receipts += [request.headers["x-receipt"]] if "x-receipt" in request.headers else []
        receipt = request.headers.get("x-receipt", "")
        told = "\n".join(
            [receipt, f"Cannot {request.method} {request.target}", *map(": ".join, request.headers.items())]
        )
        return Response(self.status, [], (told if self.answered % 2 else json.dumps(told)).encode())


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.server.stop()


def read(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as got:
            return str(got.read().decode())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.read().decode()


def core_limits(pids: list[int]) -> set[tuple[str, ...]]:
    """Give soft and hard limit of the core files of some processes."""
    limits = [Path(f"/proc/{pid}/limits").read_text() for pid in pids]
    return {
        match.groups() for text in limits for match in re.finditer(r"^Max core file size +(\d+) +(\d+)", text, re.M)
    }


def ended(courier: Courier) -> str:
    courier.drain()
    return courier.log()


def test_no_secret_gets_out_through_refusals_a_hang_stacks_rotation_and_the_api(
    tmp_path: Path, queue: Queue, echo: Echo
) -> None:
    failures = Queue(queue.endpoint)
    planted = variables(tmp_path, echo.server.url, {"basic_auth_file", "client_cert", "client_key"})
    options = ["--log-level", "debug", "--api", "127.0.0.1:0", "--hang-timeout", "2", "--audit-body", "none"]
    more = ["--receipt-header", "X-Receipt", "--failure-queue", failures.name, "--drain-timeout", "5", "--senders", "2"]
    more += ["--control", str(tmp_path / "control.sock")]
    (tmp_path / "cwd").mkdir()
    courier = Courier(
        queue.name,
        planted["COURIER_RECIPIENT_URL"],
        tmp_path,
        *options,
        *more,
        endpoint=queue.endpoint,
        prefix=("env", "-C", str(tmp_path / "cwd"), f"PYTHONPATH={Path.cwd()}"),
        **planted,
        **AWS,
    )
    try:
        courier.wait_ready()
        assert core_limits([courier.pid, *children(courier.pid)]) == {("0", "0")}
        queue.send(bodies(4))
        until(lambda: echo.answered >= 4, explain=courier.log)
        echo.status = 401
        queue.send(bodies(3))
        until(lambda: failures.counts()[0] >= 2, explain=courier.log)
        letters = [
            message
            for _ in range(3)
            for message in failures.sqs.receive_message(
                QueueUrl=failures.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
            ).get("Messages", [])
        ]
        assert len(letters) >= 2
        assert leaks(str(letters)) == []
        assert receipts_in(echo, str([letter["MessageAttributes"] for letter in letters])) == []
        assert "***" in str(letters)
        [url] = re.findall(r'event="api listening" url=(\S+)', courier.log())
        courier.signal(signal.SIGUSR2)
        paths = ("/status", "/status/samples", "/status/ready", "/metrics", "/debug/stacks", "/")
        shown = "".join(read(f"{url}{path}") for path in paths)
        assert "courier" in shown
        assert leaks(shown) == []
        assert receipts_in(echo, shown) == []
        token = tmp_path / "bearer_token_file.secret"
        token.write_text(f"two words {SECRET['bearer_token_file']}")
        token.chmod(0o644)
        os.kill(courier.pids("sender")[0], signal.SIGSTOP)
        until(lambda: "worker hangs" in courier.log() and "worker died" in courier.log(), explain=courier.log)
        until(lambda: "cannot take over a changed secret" in courier.log(), explain=courier.log)
        echo.server.go_away()
        queue.send(bodies(3))
        until(lambda: "connection refused" in read(f"{url}/metrics"), explain=courier.log)
        text = ended(courier)
    finally:
        courier.kill()
    assert leaks(text) == []
    assert echo.receipts
    assert receipts_in(echo, text) == []
    assert "unsafe file permissions" in text
    for path in (path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".secret", ".log")):
        assert leaks(path.read_text(errors="replace")) == [], path
        assert receipts_in(echo, path.read_text(errors="replace")) == [], path
    assert list((tmp_path / "cwd").iterdir()) == []  # where a core would be


@pytest.mark.parametrize("transport", ["native", "requests"])
def test_no_secret_gets_out_through_tls_that_fails_or_a_proxy_that_refuses(
    tmp_path: Path, queue: Queue, transport: str
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(tls)
    refusal = b"HTTP/1.1 407 No\r\nContent-Length: %d\r\n\r\n%b" % (len(PASSWORD), PASSWORD.encode())
    with ProxyServer(refusal) as proxy, MisbehavingServer(answer(b""), tls=tls) as server:
        planted = variables(tmp_path, server.url.rstrip("/"), {"bearer_token_file", "page_control"})
        environ = planted | AWS | {"HTTPS_PROXY": f"http://someone:{PASSWORD}@{proxy.authority}"}
        options = ["--log-level", "debug", "--transport", transport, "--senders", "1", "--drain-timeout", "5"]
        courier = Courier(
            queue.name, planted["COURIER_RECIPIENT_URL"], tmp_path, *options, "--breaker-threshold", "2",
            endpoint=queue.endpoint, **environ,
        )  # fmt: skip
        try:
            courier.wait_ready()
            queue.send(bodies(3))
            until(lambda: proxy.heads if transport == "requests" else server.connections, explain=courier.log)
            until(lambda: "breaker" in courier.log(), explain=courier.log)
            text = ended(courier)
        finally:
            courier.kill()
        assert leaks(text) == []
        checked = subprocess.run(
            [sys.executable, "-m", "courier", "check", *options, "--queue", queue.name, "--audit-path", str(tmp_path)],
            env={"PATH": os.environ["PATH"], "AWS_REGION": "us-east-1", "COURIER_ENDPOINT_URL": queue.endpoint}
            | environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert "recipient" in checked.stdout
    assert leaks(checked.stdout + checked.stderr) == []


@pytest.mark.parametrize("status", [200, 400, 503])
def test_no_aws_secret_gets_out_where_what_answers_for_sqs_repeats_it(tmp_path: Path, echo: Echo, status: int) -> None:
    echo.status = status
    # This proxy passes on what is for itself alone.
    with ProxyServer(names={"sqs.example": "127.0.0.1"}) as proxy:
        endpoint = echo.server.url.replace("127.0.0.1", "sqs.example")
        variables = {"HTTP_PROXY": f"http://someone:{PASSWORD}@{proxy.authority}"}
        courier = Courier("orders", "http://127.0.0.1:1/in", tmp_path, endpoint=endpoint, **AWS, **variables)
        assert courier.wait(60) == 3, courier.log()
        assert proxy.heads
    assert echo.answered
    assert leaks(courier.log()) == []
