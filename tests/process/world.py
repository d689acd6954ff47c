"""A world for the whole program: a virtual queue, a recipient that does as told, and ``python -m courier`` between."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from courier.audit.reader import read_lines, read_records
from courier.audit.segment import segments
from courier.local.exchange import Request, Response
from scripts.faults.process_tree import alive as alive
from scripts.faults.process_tree import kill as kill
from scripts.faults.process_tree import title as title
from tests.integration.sqs_endpoints import create_queue, redrive_policy, sqs_client
from tests.threaded_server import ThreadedServer

START_SECONDS: Final = 60.0
LONGEST_PAUSE_SECONDS: Final = 0.05
"""Between two looks at a condition, after some seconds: a look at the queue takes milliseconds of CPU."""

ROLES: Final = ("auditor", "sender", "consumer")
OK: Final = Response(200)

Behaviour = Callable[["Delivery"], Response | Awaitable[Response]]


class Delivery(NamedTuple):
    """One request that the recipient got; ``number`` counts the requests for the same message from 1."""

    at: float
    message_id: str
    receive_count: int
    number: int
    body: bytes
    headers: dict[str, str]


class Recipient:
    """A server that records what it gets; ``behave`` decides on the answer."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.accepted: Counter[str] = Counter()
        self.open: dict[str, int] = {}
        self.behave: Behaviour = lambda delivery: OK
        self._seen: Counter[str] = Counter()
        self.server = ThreadedServer(self._answer)

    @property
    def url(self) -> str:
        return f"{self.server.url}/in"

    def _answer(self, request: Request) -> Response | Awaitable[Response]:
        name = request.headers["x-aws-sqsd-msgid"]
        self._seen[name] += 1
        count = int(request.headers["x-aws-sqsd-receive-count"])
        delivery = Delivery(time.monotonic(), name, count, self._seen[name], request.body, dict(request.headers))
        self.deliveries.append(delivery)
        response = self.behave(delivery)
        if isinstance(response, Response):
            self._note(name, response)
            return response
        return self._later(name, response)

    async def _later(self, name: str, coming: Awaitable[Response]) -> Response:
        self.open[name] = self.open.get(name, 0) + 1
        try:
            response = await coming
            self._note(name, response)
            return response
        finally:
            self.open[name] -= 1
            if not self.open[name]:
                del self.open[name]

    def _note(self, name: str, response: Response) -> None:
        if 200 <= response.status < 300:
            self.accepted[name] += 1

    def duplicates(self) -> dict[str, int]:
        """Messages that were accepted more than once."""
        return {name: count for name, count in self.accepted.items() if count > 1}

    def stop(self) -> None:
        self.server.stop()


def after(seconds: float, response: Response = OK) -> Behaviour:
    """Answer after a while."""

    async def answer() -> Response:
        await asyncio.sleep(seconds)
        return response

    return lambda delivery: answer()


class Queue:
    """A queue on the virtual SQS, spoken to with boto3."""

    def __init__(self, endpoint: str, attributes: dict[str, str] | None = None, *, fifo: bool = False) -> None:
        self.endpoint = endpoint
        self.url = create_queue(endpoint, attributes, fifo=fifo)
        self.name = self.url.rsplit("/", 1)[1]
        self.sqs = sqs_client(endpoint)
        self._numbers = itertools.count(1)

    @classmethod
    def with_dead_letters(cls, endpoint: str, receives: int, *, fifo: bool = False) -> tuple[Queue, Queue]:
        """Make a queue whose messages go to a second one after so many receives."""
        dead = cls(endpoint, fifo=fifo)
        return cls(endpoint, {"RedrivePolicy": redrive_policy(endpoint, dead.url, receives)}, fifo=fifo), dead

    def send(self, bodies: Sequence[str], groups: Sequence[str] | None = None) -> list[str]:
        """Send messages, ten to a call where they fit; gives their ids."""
        ids: list[str] = []
        for start, chunk in _batches(bodies):
            entries: list[dict[str, Any]] = []
            for n, body in enumerate(chunk):
                entry: dict[str, Any] = {"Id": str(n), "MessageBody": body}
                if groups is not None:
                    entry["MessageGroupId"] = groups[start + n]
                    entry["MessageDeduplicationId"] = f"d{next(self._numbers)}"
                entries.append(entry)
            answer = self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)
            assert not answer.get("Failed"), answer
            ids += [entry["MessageId"] for entry in sorted(answer["Successful"], key=lambda e: int(e["Id"]))]
        return ids

    def purge(self) -> None:
        self.sqs.purge_queue(QueueUrl=self.url)

    def counts(self) -> tuple[int, int]:
        """Give (visible or delayed, in flight)."""
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        visible = int(answer["ApproximateNumberOfMessages"]) + int(answer["ApproximateNumberOfMessagesDelayed"])
        return visible, int(answer["ApproximateNumberOfMessagesNotVisible"])


def _batches(bodies: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    chunk: list[str] = []
    size = 0
    start = 0
    for n, body in enumerate(bodies):
        if chunk and (len(chunk) == 10 or size + len(body) > 1_000_000):
            yield start, chunk
            chunk, size, start = [], 0, n
        chunk.append(body)
        size += len(body)
    if chunk:
        yield start, chunk


class Courier:
    """A run of ``python -m courier``; ``prefix`` is a command that runs it, and becomes it, in another setting.

    ``program`` is another Courier to run.
    """

    def __init__(
        self,
        queue: str,
        url: str,
        directory: Path,
        *options: str,
        endpoint: str,
        prefix: Sequence[str] = (),
        program: Sequence[str] = (sys.executable, "-m", "courier"),
        **environ: str,
    ) -> None:
        self.audit = directory / "audit"
        self.log_path = directory / f"courier-{time.monotonic_ns()}.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "COURIER_"))}
        environment |= {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "COURIER_QUEUE": queue,
            "COURIER_RECIPIENT_URL": url,
            "COURIER_ENDPOINT_URL": endpoint,
            "COURIER_AUDIT_PATH": str(self.audit),
            # There is one default port, and many of these run at once.
            "COURIER_API": "none",
            **environ,
        }
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, *program, *options],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_ready(self) -> Courier:
        until(lambda: "event=ready" in self.log() or self.process.poll() is not None, START_SECONDS, self.log)
        assert self.process.poll() is None, self.log()
        return self

    def pids(self, role: str) -> list[int]:
        """Return the pids of the workers of a role, by the titles that ``ps`` shows."""
        return sorted(pid for pid in children(self.pid) if title(pid).startswith(f"courier: {role}"))

    def pid_of(self, role: str, index: int) -> int:
        """Return the pid of one worker, by its title; it fails where there is no such worker."""
        (pid,) = (pid for pid in children(self.pid) if title(pid) == f"courier: {role} {index}")
        return pid

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def signal_group(self, number: int) -> None:
        os.killpg(self.pid, number)

    def drain(self, timeout: float = 60.0) -> int:
        """Ask it to stop as systemd does, and give its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float) -> int:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"courier did not end within {timeout} s:\n{self.log()}") from None

    def recorded(self) -> Counter[str]:
        """Count the audit records by message id."""
        return Counter(record.message_id for record in read_records(self.audit)) if self.audit.exists() else Counter()

    def events(self) -> list[dict[str, Any]]:
        """Return the event lines of the audit log."""
        lines = [line.raw for segment in segments(self.audit) for line in read_lines(segment)]
        fields = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return [each for each in fields if "worker" in each]

    def kill(self) -> None:
        """End the whole tree, whatever state it is in."""
        if self.process.poll() is None:
            for pid in [self.pid, *children(self.pid)]:
                kill(pid, signal.SIGKILL)
            self.process.wait(10)


def children(pid: int) -> list[int]:
    """Return the children of all threads of a process."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, path.read_text().split())
    return found


def until(
    condition: Callable[[], object],
    seconds: float = 40.0,
    explain: Callable[[], object] = lambda: "",
    every: float = 0.01,
) -> None:
    """Wait until the condition is true; fail at the deadline with an explanation.

    It looks ``every`` so many seconds at first, and more rarely the longer it waits.
    """
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < seconds, f"not true within {seconds} s: {str(explain())[-4000:]}"
        time.sleep(max(every, min(waited / 50, LONGEST_PAUSE_SECONDS)))


def bodies(count: int, size: int = 220) -> list[str]:
    """Make distinct bodies of about a size."""
    return [f'{{"n": {n}, "pad": "{"x" * max(0, size - 20 - len(str(n)))}"}}' for n in range(count)]


def totals(log: str) -> dict[str, int]:
    """Read the totals of the line ``event=stopped``."""
    line = next(line for line in reversed(log.splitlines()) if "event=stopped" in line)
    return {name: int(value) for name, value in re.findall(r"\b(\w+)=(\d+)\b", line)}


def missing(sent: Iterable[str], got: Iterable[str]) -> set[str]:
    return set(sent) - set(got)
