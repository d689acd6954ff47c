"""The two ends of the bench, each in separate processes: the queue server, and the recipient."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import boto3
import orjson
import uvloop

from courier.http.url_parsing import read_url
from courier.process.kin import die_with
from courier.sqs.client import Outgoing, SqsClient
from courier.sqs.credentials import CredentialSource
from courier.sqs.discovery import aws_configuration
from courier.sqs.lookup import resolve_queue
from courier.sqs.queue import QueueInfo
from scripts.bench.tree import Tree, process_cpu

REGION: Final = "us-east-1"
VISIBILITY_SECONDS: Final = 30
START_SECONDS: Final = 20.0
WAIT_SECONDS: Final = 30.0
FILLING_CALLS: Final = 6
_LISTENING: Final = "listening on "
_numbers = itertools.count(1)


class State(NamedTuple):
    """The numbers of messages in a queue: visible or delayed, and received but not deleted."""

    visible: int
    in_flight: int

    @property
    def left(self) -> int:
        """All messages that aren't deleted."""
        return self.visible + self.in_flight


class Server:
    """A process that prints its address to stdout; ``tree`` measures it."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=until_we_end()
        )
        self.tree = Tree(self.process.pid)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith(_LISTENING):
            raise SystemExit(f"{' '.join(command)} did not start: {line}")
        self.url = line.removeprefix(_LISTENING).strip()

    def stop(self) -> None:
        """Stop the process."""
        end(self.process)


def until_we_end() -> Callable[[], None]:
    """Return what a new process calls first, so that it ends with this one, even if that is killed."""
    return partial(die_with, os.getpid())


def end(process: subprocess.Popen[Any], number: int = signal.SIGTERM, seconds: float = 10.0) -> int:
    """Stop a process; kill its whole session if it doesn't end. Return its exit code."""
    with suppress(ProcessLookupError):
        process.send_signal(number)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        for pid in list(Tree(process.pid).pids()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return process.wait()


class Queue(Protocol):
    """A queue to fill and to watch."""

    url: str
    endpoint: str

    def state(self) -> State:
        """Count its messages."""

    def calls(self) -> Counter[str]:
        """Count the calls to its server by action; empty if unknown."""

    def server_cpu(self) -> float:
        """Return the seconds of CPU that its server has used, 0 if unknown."""


class LocalQueue:
    """A queue on the bench's own server, which counts the calls."""

    def __init__(self, server: Server, *, fifo: bool = False) -> None:
        self.endpoint = server.url
        self._server = server
        self._name = f"bench-{next(_numbers)}{'.fifo' if fifo else ''}"
        self.url = _create(boto3_client(server.url), self._name, fifo=fifo)
        target = read_url(server.url)
        self._connection = http.client.HTTPConnection(target.host, target.port)

    def state(self) -> State:
        """Count its messages."""
        counts = self._ask()["queues"][self._name]
        return State(counts["visible"] + counts["delayed"], counts["in_flight"])

    def calls(self) -> Counter[str]:
        """Count the calls to the server by action, including those that fill queues and those of other queues."""
        return Counter(self._ask()["calls"])

    def throttled(self) -> int:
        """Count the calls to the server that were too many."""
        return sum(self._ask()["throttled"].values())

    def server_cpu(self) -> float:
        """Return the seconds of CPU that the server has used."""
        return process_cpu(self._server.process.pid)

    def _ask(self) -> Any:
        self._connection.request("GET", "/bench")
        return orjson.loads(self._connection.getresponse().read())


class RemoteQueue:
    """A queue on another server."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._sqs = boto3_client(endpoint)
        self.url = _create(self._sqs, f"bench-{os.getpid()}-{next(_numbers)}")

    def state(self) -> State:
        """Return the approximate numbers, which is all that SQS has."""
        answer = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        visible = int(answer["ApproximateNumberOfMessages"]) + int(answer["ApproximateNumberOfMessagesDelayed"])
        return State(visible, int(answer["ApproximateNumberOfMessagesNotVisible"]))

    def calls(self) -> Counter[str]:
        """Return an empty count: the server doesn't count calls."""
        return Counter()

    def server_cpu(self) -> float:
        """Return 0: the server may be on another machine."""
        return 0.0


def boto3_client(endpoint: str) -> Any:
    """Return a boto3 client of SQS at an endpoint."""
    return boto3.client("sqs", endpoint_url=endpoint)


def set_aws_environment() -> None:
    """Set region and credentials for this process and its children; made-up ones if there are none."""
    if "AWS_ACCESS_KEY_ID" not in os.environ and "AWS_PROFILE" not in os.environ:
        os.environ.update(AWS_ACCESS_KEY_ID="bench", AWS_SECRET_ACCESS_KEY="bench", AWS_EC2_METADATA_DISABLED="true")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION
    os.environ.update(AWS_REGION=region, AWS_DEFAULT_REGION=region)


def _create(sqs: Any, name: str, *, fifo: bool = False) -> str:
    attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS), **({"FifoQueue": "true"} if fifo else {})}
    return str(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])


def body(number: int, size: int) -> bytes:
    """Return a JSON body of a size in bytes that is unique for its number."""
    start = f'{{"number":{number},"pad":"'
    return f'{start}{"x" * (size - len(start) - 2)}"}}'.encode()


def fill(queue: Queue, messages: int, size: int) -> None:
    """Send messages of a size to a queue, as many in a call as fit."""
    info = resolve_queue(aws_configuration(os.environ), queue.url, None, queue.endpoint)
    per_call = max(1, min(10, 1_000_000 // size))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_fill(info, messages, size, per_call))


async def _fill(info: QueueInfo, messages: int, size: int, per_call: int) -> None:
    credentials = CredentialSource(aws_configuration(os.environ).find_keys, info.region)
    client = SqsClient(asyncio.get_running_loop(), info, credentials)
    starts = iter(range(0, messages, per_call))

    async def send() -> None:
        for start in starts:
            numbers = range(start, min(start + per_call, messages))
            failed = [f for f in await client.send([Outgoing(body(n, size)) for n in numbers]) if f is not None]
            if failed:
                raise SystemExit(f"the queue refused a message: {failed[0].code} {failed[0].detail}")

    await asyncio.gather(*(send() for _ in range(FILLING_CALLS)))
    client.close()
    credentials.close()


class Tally(NamedTuple):
    """What came to a recipient: requests, and how many different messages; -1 if their ids are unknown."""

    requests: int
    distinct: int


class Recipient(Protocol):
    """Something that answers every POST with 200."""

    name: str
    url: str
    tree: Tree

    def stop(self) -> Tally:
        """Stop the recipient, and return what came."""


_NGINX_CONF: Final = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    log_format ids "$http_x_aws_sqsd_msgid";
    access_log {directory}/access.log ids buffer=64k flush=1s;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 0;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    server {{
        listen 127.0.0.1:{port}{ssl};
        {certificate}
        location / {{ return 200 "ok"; }}
    }}
}}
"""


class Nginx:
    """nginx with one worker, which keeps connections alive and logs the message id of each request."""

    name = "nginx"

    def __init__(self, directory: Path, certificate: Path | None = None) -> None:
        self._directory = directory
        port = free_port()
        pem = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};" if certificate else ""
        conf = directory / "nginx.conf"
        conf.write_text(
            _NGINX_CONF.format(directory=directory, port=port, ssl=" ssl" if certificate else "", certificate=pem)
        )
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}/"
        command = [nginx_path(), "-c", str(conf), "-e", str(directory / "error.log")]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=until_we_end()
        )
        self.tree = Tree(self.process.pid)
        _wait_for_port(port, self.process)

    @staticmethod
    def installed() -> bool:
        """Return whether nginx is installed."""
        return bool(nginx_path())

    def stop(self) -> Tally:
        """Stop nginx gracefully, so that its log is whole, and count the log."""
        end(self.process, signal.SIGQUIT)
        ids = (self._directory / "access.log").read_text().splitlines()
        return Tally(len(ids), len(set(ids)) if "-" not in ids else -1)


def nginx_path() -> str:
    """Return the path of nginx, which may not be on a user's PATH; empty if there is none."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") or ""


class OwnRecipient:
    """The bench's own HTTP server; ``delay_ms`` is how long each answer takes."""

    name = "scripts.bench.server"

    def __init__(self, delay_ms: float = 0.0, certificate: Path | None = None) -> None:
        command = [sys.executable, "-m", "scripts.bench.sink", "--delay-ms", str(delay_ms)]
        if certificate:
            command += ["--certificate", str(certificate)]
        self._server = Server(*command)
        self.process = self._server.process
        self.url = f"{self._server.url}/"
        self.tree = self._server.tree

    def tally(self, *, ids: bool = True) -> Any:
        """Return its current tally; ``ids`` includes the list of all messages."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # a child of this process, over loopback
        with urllib.request.urlopen(f"{self._server.url}/{'tally' if ids else 'counts'}", context=context) as answer:
            return orjson.loads(answer.read())

    def wait_for(self, requests: int) -> list[float]:
        """Wait for so many requests. Return the ages of their bodies, in the order in which they came."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (tally := self.tally())["requests"] < requests:
            if time.monotonic() > deadline:
                raise SystemExit(f"only {tally['requests']} of {requests} requests came")
            time.sleep(0.05)
        return list(tally["ages"])

    def kill(self) -> None:
        """Kill the recipient."""
        self._server.stop()

    def stop(self) -> Tally:
        """Return its tally, and stop it."""
        tally = self.tally()
        self._server.stop()
        return Tally(tally["requests"], len(tally["ids"]) if tally["ids"] else -1)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(port: int, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.01)
    raise SystemExit("nginx did not start")


def queue_server(latency_ms: float = 0.0, calls_a_second: float = 0.0) -> Server:
    """Start a queue server; it refuses more than so many calls of each action a second, 0 for none."""
    options = ["--latency-ms", str(latency_ms), "--calls-a-second", str(calls_a_second)]
    return Server(sys.executable, "-m", "scripts.bench.queue_server", *options)
