"""docs/from-aws-sqsd.md: its command, its cron.yaml, and a worker application of the kind that AWS documents."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pytest

from courier.audit.reader import audit_files
from courier.local.exchange import Request, Response
from courier.request.tasks import BODY
from tests.process.world import Courier, Queue, until
from tests.threaded_server import ThreadedServer

PAGE: Final = (Path(__file__).parents[2] / "docs" / "from-aws-sqsd.md").read_text()
(COMMAND,) = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(CRON,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PATH: Final = "beanstalk.sqsd.path"


class Application:
    """A WSGI application as in AWS's tutorial: "/" takes messages as JSON, and other paths do periodic tasks."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.tasks: list[tuple[str, str, str]] = []
        self.refused: list[Request] = []
        self.server = ThreadedServer(self._serve)

    def _serve(self, request: Request) -> Response:
        environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
        environ |= {
            "REQUEST_METHOD": request.method,
            "PATH_INFO": request.target,
            "CONTENT_TYPE": request.headers["content-type"],
            "CONTENT_LENGTH": request.headers["content-length"],
        }
        status = self.application({**environ, "wsgi.input": BytesIO(request.body)})
        if status != 200:
            self.refused.append(request)
        return Response(status)

    def application(self, environ: dict[str, Any]) -> int:
        path = environ["PATH_INFO"]
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        if environ["REQUEST_METHOD"] != "POST" or not environ["HTTP_USER_AGENT"].startswith("aws-sqsd/"):
            return 405
        # A framework reads every body of this type before the application sees it, and answers 400 if it can't.
        if environ["CONTENT_TYPE"] == "application/json" and body:
            try:
                body = json.loads(body)
            except ValueError:
                return 400
        if path == "/":
            self.messages.append(body)
        elif path.startswith("/scheduled"):
            task, at = environ.get("HTTP_X_AWS_SQSD_TASKNAME", ""), environ.get("HTTP_X_AWS_SQSD_SCHEDULED_AT", "")
            self.tasks.append((path, task, at))
        else:
            return 404
        return 200


@pytest.fixture
def application() -> Iterator[Application]:
    app = Application()
    yield app
    app.server.stop()


@pytest.fixture
def cron(tmp_path: Path) -> Path:
    path = tmp_path / "cron.yaml"
    path.write_text(CRON)
    return path


def start(queue: Queue, application: Application, cron: Path, directory: Path, *more: str) -> Courier:
    """Start the command of the page on this queue, this application and this file."""
    directory.mkdir(exist_ok=True)
    places = {"jobs.fifo": queue.name, "http://127.0.0.1:8000": application.server.url, "cron.yaml": str(cron)}
    program, *options = shlex.split(COMMAND.replace("\\\n", " "))
    assert program == "courier"
    for of_the_page, place in places.items():
        options = [option.replace(of_the_page, place) if option != place else option for option in options]
    return Courier(queue.name, "", directory, *options, *more, endpoint=queue.endpoint).wait_ready()


def send(queue: Queue, body: str, **attributes: str) -> None:
    named = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    fifo = (
        {"MessageGroupId": "g", "MessageDeduplicationId": os.urandom(8).hex()} if queue.name.endswith(".fifo") else {}
    )
    queue.sqs.send_message(QueueUrl=queue.url, MessageBody=body, MessageAttributes=named, **fifo)


def test_a_worker_application_runs_unchanged_with_its_paths_and_its_periodic_tasks(
    virtual_queue: str, application: Application, cron: Path, tmp_path: Path
) -> None:
    queue = Queue(virtual_queue, fifo=True)
    send(queue, '{"job": 1}')
    send(queue, '{"job": 2}', **{PATH: "/scheduled/audit"})
    send(queue, '{"job": 3}', **{PATH: "/scheduled/by-hand"})
    replicas = [start(queue, application, cron, tmp_path / name) for name in "ab"]
    try:
        until(lambda: any(task for _, task, _ in application.tasks), 30, replicas[0].log)
        until(lambda: application.messages and len(application.tasks) >= 3, 30, replicas[0].log)
        for replica in replicas:
            assert replica.pids("scheduler")
            assert replica.drain() == 0, replica.log()
    finally:
        for replica in replicas:
            replica.kill()
    assert application.refused == []
    assert application.messages == [{"job": 1}]
    assert {path for path, task, _ in application.tasks if not task} == {"/scheduled/audit", "/scheduled/by-hand"}
    # The audit log has what came, and what was sent in its place, where to.
    lines = [
        line for replica in replicas for file in audit_files(replica.audit) for line in file.read_bytes().splitlines()
    ]
    sent = {(record["body"], json.dumps(record.get("sent"))) for record in map(json.loads, lines)}
    empty = {"sha256": hashlib.sha256().hexdigest(), "bytes": 0}
    assert ('{"job": 1}', "null") in sent
    assert ('{"job": 2}', json.dumps({"path": "/scheduled/audit"})) in sent
    assert (BODY.decode(), json.dumps({**empty, "path": "/scheduled/audit"})) in sent
    periodic = Counter(each for each in application.tasks if each[1])
    # Two replicas, and each time once.
    assert set(periodic.values()) == {1}
    for path, task, at in periodic:
        assert (path, task) in {("/scheduled/audit", "audit"), ("/scheduled/backup", "backup-job")}
        assert abs(datetime.fromisoformat(at).timestamp() - time.time()) < 400
        assert datetime.fromisoformat(at).astimezone(UTC).second == 0


@pytest.mark.parametrize("path", ["/admin", "/scheduled/../admin", "//evil.example/scheduled", "/scheduled%2f..%2fa"])
def test_a_path_that_isn_t_allowed_is_called_by_nobody(
    virtual_queue: str, application: Application, cron: Path, tmp_path: Path, path: str
) -> None:
    queue, failed = Queue(virtual_queue), Queue(virtual_queue)
    send(queue, '{"job": 1}', **{PATH: path, "beanstalk.sqsd.scheduled_time": "2024-01-01 00:00:00 UTC"})
    courier = start(queue, application, cron, tmp_path / "a", "--failure-queue", failed.name)
    try:
        until(lambda: failed.counts() == (1, 0), 30, courier.log)
        assert courier.drain() == 0
    finally:
        courier.kill()
    assert application.refused == []
    assert [each for each in application.tasks if not each[1]] == []


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_kill_of_the_scheduler_repeats_nothing_and_misses_nothing(
    virtual_queue: str, application: Application, cron: Path, tmp_path: Path
) -> None:
    queue = Queue(virtual_queue)
    courier = start(queue, application, cron, tmp_path / "a")
    try:
        for _ in range(2):
            seen = len(application.tasks)
            until(lambda: len(application.tasks) > seen, 90, courier.log)  # noqa: B023
            (pid,) = courier.pids("scheduler")
            os.kill(pid, signal.SIGKILL)
            until(lambda: courier.pids("scheduler") not in ([], [pid]), 20, courier.log)  # noqa: B023
        # Stopped over the beginning of a minute, it is only late.
        (pid,) = courier.pids("scheduler")
        seen = len(application.tasks)
        until(lambda: time.time() % 60 > 57, 70)
        os.kill(pid, signal.SIGSTOP)
        until(lambda: 2 < time.time() % 60 < 50, 20)
        os.kill(pid, signal.SIGCONT)
        until(lambda: len(application.tasks) > seen, 30, courier.log)
        assert courier.drain() == 0, courier.log()
    finally:
        courier.kill()
    times = [at for _, task, at in application.tasks if task == "audit"]
    assert len(times) == len(set(times))
    minutes = [int(datetime.fromisoformat(at).timestamp()) // 60 for at in times]
    assert minutes == list(range(minutes[0], minutes[0] + len(minutes)))


def test_a_file_that_is_wrong_ends_the_start_with_one_line(
    virtual_queue: str, application: Application, cron: Path, tmp_path: Path
) -> None:
    cron.write_text(CRON.replace("* * * * *", "61 * * * *"))
    queue = Queue(virtual_queue)
    options = ("--cron", str(cron))
    courier = Courier(queue.name, application.server.url, tmp_path, *options, endpoint=queue.endpoint)
    assert courier.wait(30) == 3
    assert f"{cron} has the task 'audit' with a bad schedule" in courier.log()
    assert "Traceback" not in courier.log()


def test_a_reload_changes_the_paths_that_are_allowed_and_refuses_other_tasks(
    virtual_queue: str, application: Application, cron: Path, tmp_path: Path
) -> None:
    queue, failed = Queue(virtual_queue), Queue(virtual_queue)
    config = tmp_path / "courier.toml"

    def write(**options: str) -> None:
        config.write_text("".join(f"{key.replace('_', '-')} = {value}\n" for key, value in options.items()))

    def reload(event: str) -> None:
        before = courier.log().count(event)
        courier.signal(signal.SIGHUP)
        until(lambda: courier.log().count(event) > before, 40, courier.log)

    given = {"cron": f'"{cron}"', "preset": '"sqsd"', "failure_queue": f'"{failed.name}"'}
    write(**given)
    url = f"{application.server.url}/"
    options = ("--config", str(config))
    courier = Courier(queue.name, url, tmp_path, *options, endpoint=queue.endpoint).wait_ready()
    try:
        send(queue, "{}", **{PATH: "/scheduled/by-hand"})
        until(lambda: failed.counts() == (1, 0), 30, courier.log)
        write(**given, path_allow='["/scheduled/by-hand"]')
        reload("event=reloaded")
        send(queue, "{}", **{PATH: "/scheduled/by-hand"})
        until(lambda: application.tasks, 30, courier.log)
        write(**{**given, "cron": f'"{tmp_path / "other.yaml"}"'})
        reload("cannot reload, the old configuration stays in force")
        assert "--cron needs a restart" in courier.log()
        assert courier.drain() == 0, courier.log()
    finally:
        courier.kill()
    assert [path for path, task, _ in application.tasks if not task] == ["/scheduled/by-hand"]
