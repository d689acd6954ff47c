"""What a recipient that isn't Courier's own sees: an application of Elastic Beanstalk, and one that asks who sends."""

from __future__ import annotations

import itertools
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, NamedTuple
from urllib.request import urlopen
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
import trustme
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.process.conftest import Start
from tests.process.world import Queue, bodies, until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEXT_SECRET = "whsec_bmV4dG5leHRuZXh0bmV4dG5leHRuZXh0"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


class WorkerApplication:
    """A worker application as AWS's samples are: WSGI, and all that it knows is in the headers of aws-sqsd."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.tasks: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.refused: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        self.times.append(time.monotonic())
        from_sqsd = environ["REQUEST_METHOD"] == "POST" and environ["HTTP_USER_AGENT"].startswith("aws-sqsd/")
        if not from_sqsd or environ["CONTENT_TYPE"] != "application/json" or not environ["HTTP_X_AWS_SQSD_MSGID"]:
            self.refused.append(environ)
            start_response("403 Forbidden", [("Content-Length", "0")])
            return []
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        if self.answers:
            start_response(self.answers.pop(0), [("Content-Length", "0")])
            return []
        self.tasks.append({name: value for name, value in environ.items() if name.startswith("HTTP_")})
        self.tasks[-1]["task"] = json.loads(body)
        start_response("200 OK", [("Content-Length", "0")])
        return []


class _ThreadingWsgi(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def application() -> WorkerApplication:
    return WorkerApplication()


@pytest.fixture
def worker(application: WorkerApplication) -> Iterator[str]:
    """Serve the application; the URL is the test's."""
    server = make_server("127.0.0.1", 0, application, _ThreadingWsgi, _Silent)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_a_worker_application_of_elastic_beanstalk_runs_unchanged(
    queue: Queue, start: Start, application: WorkerApplication, worker: str
) -> None:
    sent = queue.sqs.send_message(
        QueueUrl=queue.url,
        MessageBody='{"n": 1}',
        MessageAttributes={
            "color": {"DataType": "String", "StringValue": "blue"},
            "size": {"DataType": "Number", "StringValue": "7"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\0"},
            "beanstalk.sqsd.path": {"DataType": "String", "StringValue": "/elsewhere"},
        },
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": TRACE}},
    )
    courier = start(queue, "--preset", "sqsd", "--recipient-url", worker, "--wait-time", "1")
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert not application.refused
    [task] = application.tasks
    assert task["task"] == {"n": 1}
    assert task["HTTP_X_AWS_SQSD_MSGID"] == sent["MessageId"]
    assert task["HTTP_IDEMPOTENCY_KEY"] == sent["MessageId"]
    assert task["HTTP_X_AWS_SQSD_QUEUE"] == queue.name
    assert task["HTTP_X_AWS_SQSD_RECEIVE_COUNT"] == "1"
    for name in ("FIRST_RECEIVED_AT", "SENT_AT"):
        time.strptime(task[f"HTTP_X_AWS_SQSD_{name}"], "%Y-%m-%dT%H:%M:%SZ")
    assert {name: value for name, value in task.items() if "SQSD_ATTR" in name} == {
        "HTTP_X_AWS_SQSD_ATTR_COLOR": "blue",
        "HTTP_X_AWS_SQSD_ATTR_SIZE": "7",
    }
    assert task["HTTP_X_AMZN_TRACE_ID"] == TRACE
    assert task["HTTP_TRACEPARENT"] == "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"


def test_to_a_worker_application_only_200_is_success_and_all_else_comes_again_after_two_seconds(
    queue: Queue, start: Start, application: WorkerApplication, worker: str
) -> None:
    application.answers = ["500 Internal Server Error", "202 Accepted", "404 Not Found"]
    queue.send(["{}"])
    courier = start(queue, "--preset", "sqsd", "--recipient-url", worker, "--wait-time", "1")
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert courier.drain() == 0
    # The only message of the queue can't be told from an application that is down, and is charged nothing.
    assert [task["HTTP_X_AWS_SQSD_RECEIVE_COUNT"] for task in application.tasks] == ["1"]
    assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(application.times))


class Seen(NamedTuple):
    """A request that the strict recipient took."""

    headers: dict[str, str]
    body: str


class StrictRecipient:
    """Answers 200 only to whoever shows a certificate of its CA, the token of the day and a signature of its secret."""

    def __init__(self, authority: trustme.CA) -> None:
        self.secret = SECRET
        self.token = "token-one"
        self.taken: list[Seen] = []
        self.refused: list[str] = []
        recipient = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.send_response(recipient.judge(dict(self.headers), body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"https://127.0.0.1:{self._server.server_port}/in"

    def judge(self, headers: dict[str, str], body: str) -> int:
        if headers.get("Authorization") != f"Bearer {self.token}":
            self.refused.append("token")
            return 503
        try:
            Webhook(self.secret).verify(body, headers, json_parse=False)
        except WebhookVerificationError as error:
            self.refused.append(str(error))
            return 503
        self.taken.append(Seen(headers, body))
        return 200

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def strict(authority: trustme.CA) -> Iterator[StrictRecipient]:
    recipient = StrictRecipient(authority)
    yield recipient
    recipient.stop()


@pytest.fixture
def secrets(tmp_path: Path, authority: trustme.CA) -> Path:
    """A directory of all that the strict recipient asks for."""
    directory = tmp_path / "secrets"
    directory.mkdir()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    certificate = authority.issue_cert("courier@example.com")
    certificate.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    certificate.private_key_pem.write_to_path(directory / "key.pem")
    (directory / "token").write_text("token-one\n")
    (directory / "webhook").write_text(f"{SECRET}\n")
    return directory


def proofs(directory: Path) -> list[str]:
    files = {"ca-file": "ca.pem", "client-cert": "cert.pem", "client-key": "key.pem"}
    files |= {"bearer-token-file": "token", "webhook-secret-file": "webhook"}
    return [f"--{option}={directory / name}" for option, name in files.items()]


def test_a_recipient_that_asks_who_sends_takes_what_is_signed_over_retries_and_rotations(
    queue: Queue, start: Start, strict: StrictRecipient, secrets: Path
) -> None:
    strict.token = "token-two"  # until the file follows, every attempt is refused, and the message tried again
    sent = queue.send(['{"é": 1}'])
    options = [*proofs(secrets), "--recipient-url", strict.url, "--headers", "courier", "--senders", "1"]
    courier = start(queue, *options, "--wait-time", "1", "--backoff-base", "0.2", "--backoff-cap", "0.5")
    until(lambda: strict.refused, explain=courier.log)
    (secrets / "token").write_text("token-two\n")
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    [first] = strict.taken
    assert first.body == '{"é": 1}'
    assert first.headers["webhook-id"] == first.headers["Idempotency-Key"] == first.headers["Courier-Message-Id"]
    assert [first.headers["webhook-id"]] == sent

    # The new secret stands beside the old one while recipients change over.
    (secrets / "webhook").write_text(f"{NEXT_SECRET}\n{SECRET}\n")
    until(lambda: courier.log().count("took over a changed secret") == 2, explain=courier.log)
    strict.secret = NEXT_SECRET
    strict.refused.clear()
    queue.send(bodies(20))
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert len(strict.taken) == 21
    assert not strict.refused
    assert {len(seen.headers["webhook-signature"].split()) for seen in strict.taken[1:]} == {2}


def test_no_secret_is_in_a_log_a_command_line_or_the_status(
    queue: Queue, start: Start, strict: StrictRecipient, secrets: Path
) -> None:
    queue.send(bodies(4))
    unsendable = {"name": {"DataType": "String", "StringValue": "Zoë"}}
    queue.sqs.send_message(QueueUrl=queue.url, MessageBody="5", MessageAttributes=unsendable)
    options = [*proofs(secrets), "--recipient-url", strict.url, "--log-level", "debug", "--wait-time", "1"]
    environ = {
        "COURIER_API": "127.0.0.1:0",
        "COURIER_HEADER": "X-Api-Key: key-hunter2",
        "COURIER_WEBHOOK_SECRET": NEXT_SECRET,
    }
    courier = start(queue, *options, **environ)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    url = next(line.split("url=")[1].split()[0] for line in courier.log().splitlines() if "api listening" in line)
    shown = [urlopen(f"{url}{path}", timeout=10).read().decode() for path in ("/status", "/metrics", "/debug/stacks")]
    shown += [Path(f"/proc/{courier.pid}/cmdline").read_text()]
    assert courier.drain() == 0
    assert "courier_dropped_headers_total 1.0" in shown[1]
    assert [seen.headers["X-Api-Key"] for seen in strict.taken] == ["key-hunter2"] * 5
    for text in (*shown, courier.log()):
        for secret in (SECRET, NEXT_SECRET, "token-one", "key-hunter2"):
            assert secret.removeprefix("whsec_") not in text


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("token", "two words", "--bearer-token-file: {path} must hold a token"),
        ("webhook", "whsec_c2hvcnQ=", "--webhook-secret-file: {path} holds a secret of 5 bytes"),
        ("key.pem", "junk", "--client-cert: "),
        ("ca.pem", "junk", "--ca-file: {path} holds no certificates"),
    ],
)
def test_a_file_that_is_not_right_keeps_it_from_starting(
    queue: Queue, start: Start, secrets: Path, name: str, content: str, says: str
) -> None:
    (secrets / name).write_text(content)
    options = [*proofs(secrets), "--recipient-url", "https://127.0.0.1:1/"]
    courier = start(queue, *options, ready=False)
    assert courier.wait(60) == 3, courier.log()
    [line] = [line for line in courier.log().splitlines() if "error" in line]
    assert says.format(path=secrets / name) in line
    assert content not in line
