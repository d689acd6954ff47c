"""``courier try``: it shows the request that a run sends, sends it once if asked to, and changes nothing."""

from __future__ import annotations

import gzip
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from courier.local.exchange import Request, Response
from tests.examples import examples as examples_of
from tests.faulty_s3 import FaultyS3, faulty_s3, kept
from tests.integration.sqs_endpoints import CREDENTIALS, REGION
from tests.process.combinations import combination
from tests.process.test_bodies_docs import CERTIFICATES, Example, entry, examples, is_like
from tests.process.world import Courier, Queue, Recipient, until
from tests.threaded_server import ThreadedServer
from tests.unit.body.signed import certificate

TOKEN = "s3cret-token-of-the-recipient"
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def run_try(endpoint: str, directory: Path, *options: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    """Run the command; return its exit code, what it shows, and what it says on stderr."""
    with started(endpoint, directory, *options) as process:
        shown, said = process.communicate(stdin, timeout=60)
    return process.returncode, shown, said.decode()


@contextmanager
def started(endpoint: str, directory: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command, and kill it at the end if it still runs."""
    environment = {
        "PATH": os.environ["PATH"],
        "COURIER_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": CREDENTIALS[0],
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS[1],
        "AWS_REGION": REGION,
    }
    command = [sys.executable, "-m", "courier", "try", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, cwd=directory, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


class RawRecipient:
    """A server that keeps the bytes of each request, and answers 200."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/in"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += peer.recv(65536)
                length = re.search(rb"(?i)content-length: (\d+)", data)
                assert length is not None
                while len(data) < data.index(b"\r\n\r\n") + 4 + int(length[1]):
                    data += peer.recv(65536)
                self.requests.append(data)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def raw() -> Iterator[RawRecipient]:
    recipient = RawRecipient()
    yield recipient
    recipient.close()


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--headers courier --attribute-headers bare --content-type application/json --header 'X-Q: {queue} {group}'",
        "--headers none --transport requests",
        "--bearer-token-file token --webhook-secret-file signing --max-header-bytes 1200",
        "--body decode --decode base64,gzip --headers cloudevents --cloudevents-type t --cloudevents-source /s",
        "--format lambda",
        "--path-attribute where --path-allow /orders/",
    ],
)
def test_what_it_shows_is_what_a_run_sends_to_the_byte(
    options: str, virtual_queue: str, raw: RawRecipient, tmp_path: Path
) -> None:
    for name, secret in (("token", TOKEN), ("signing", SIGNING)):
        (tmp_path / name).write_text(secret)
        (tmp_path / name).chmod(0o600)
    body = b64encode(gzip.compress(b'{"order": 1}')).decode() if "decode" in options else '{"order": 1}'
    attributes = {"tenant": "acme", "where": "/orders/7", "long": "x" * 700}
    queue = Queue(virtual_queue)
    queue.sqs.send_message(
        QueueUrl=queue.url,
        MessageBody=body,
        MessageAttributes={n: {"DataType": "String", "StringValue": v} for n, v in attributes.items()},
    )
    given = [
        "--queue",
        queue.name,
        "--recipient-url",
        raw.url,
        *shlex.split(options.replace("-file ", f"-file {tmp_path}/")),
    ]
    code, shown, said = run_try(virtual_queue, tmp_path, "--peek", queue.name, *given)
    assert code == 0, said
    assert queue.counts() == (1, 0)
    assert not raw.requests
    courier = Courier(queue.name, raw.url, tmp_path, *given, endpoint=virtual_queue)
    try:
        until(lambda: raw.requests, explain=courier.log)
    finally:
        courier.kill()
    assert TOKEN.encode() not in shown
    # The look was its first receive, and each attempt has a time of its own.
    varying = (
        (rb"(?i)(receive-?count\W+)\d", rb"\1N"),
        (rb'("receiptHandle":")[^"]*', rb"\1R"),
        (rb"(webhook-timestamp: )\d+", rb"\1T"),
        (rb"(webhook-signature: )\S+", rb"\1S"),
        (rb"(Content-Length: )\d+", rb"\1L") if "lambda" in options else (rb"^$", b""),
        (re.escape(TOKEN.encode()), b"***"),
    )
    sent = raw.requests[0]
    for found, word in varying:
        sent, shown = re.sub(found, word, sent), re.sub(found, word, shown)
    assert shown == sent + b"\n"


@pytest.fixture
def services() -> Iterator[tuple[dict[str, str], FaultyS3]]:
    """Yield the servers of AWS that the page needs: what stands in place of their addresses, and S3."""
    certificates = ThreadedServer(lambda _: Response(200, [], certificate()))
    with faulty_s3() as s3:
        yield {CERTIFICATES: certificates.url}, s3
    certificates.stop()


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.section)
def test_it_shows_each_request_of_the_page_on_bodies(
    example: Example, services: tuple[dict[str, str], FaultyS3], tmp_path: Path
) -> None:
    places, s3 = services

    def placed(text: str) -> str:
        for of_the_page, place in places.items():
            text = text.replace(of_the_page, place)
        return text

    requests, reasons = example.of("request"), example.of("rejected")
    messages = [entry(placed(block)) for block in example.of("message")]
    if len(messages) != len(requests) + len(reasons):
        pytest.skip("its request holds several messages")
    lines = [
        orjson.dumps(
            {
                "body": each["MessageBody"],
                "group": each.get("MessageGroupId"),
                "attributes": {
                    name: {"type": value["DataType"], "value": value["StringValue"]}
                    for name, value in each["MessageAttributes"].items()
                },
            }
        )
        for each in messages
    ]
    (tmp_path / "messages").write_bytes(b"\n".join(lines))
    for text in example.of("toml"):
        (tmp_path / "routes.toml").write_text(text)
    for block in example.of("object"):
        place, _, content = block.removesuffix("\n").partition("\n\n")
        s3.bucket, _, key = place.partition("/")
        s3.objects[key] = kept(content.encode())
    options = shlex.split(placed(example.command.replace("\\\n", " ")))[1:]
    if "--fetch-bucket" in options:
        options += ["--fetch-endpoint-url", s3.url]
    for number in range(1, len(lines) + 1):
        command = ["--from", "messages", "--line", str(number), *options]
        code, shown, said = run_try("http://127.0.0.1:1", tmp_path, *command)
        if code == 1:
            assert any(f"not sent; rejected: {reason.strip()}".encode() in shown for reason in reasons), shown
            continue
        assert code == 0, said
        head, _, body = shown.partition(b"\r\n\r\n")
        line, *headers = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        pairs = {name.lower(): value for name, _, value in (header.partition(": ") for header in headers)}
        request = Request(method, target, pairs, body.removesuffix(b"\n"))
        assert any(is_like(request, block, {}) for block in requests), shown


@pytest.mark.parametrize("seed", range(examples_of(30)))
def test_any_message_with_any_options_is_sent_once_or_refused_with_a_reason(
    seed: int, raw: RawRecipient, tmp_path: Path
) -> None:
    drawn = combination(seed)
    lines = []
    for sent in drawn.messages:
        attributes = {
            name: {
                "type": value["DataType"],
                "value": value.get("StringValue") or b64encode(value["BinaryValue"]).decode(),
            }
            for name, value in sent.attributes.items()
        }
        lines.append(orjson.dumps({"body": sent.body, "attributes": attributes, "group": sent.group}))
    (tmp_path / "messages").write_bytes(b"\n".join(lines))
    options = [*drawn.flags(), "--queue", "orders.fifo" if drawn.fifo else "orders", "--recipient-url", raw.url]
    if drawn.failure_queue:
        options += ["--failure-queue", "failed"]
    number = str(1 + seed % len(lines))
    code, shown, said = run_try(
        "http://127.0.0.1:1", tmp_path, "--post", "--from", "messages", "--line", number, *options
    )
    assert "Traceback" not in said
    if code == 1:
        assert shown.startswith(b"not sent; rejected: "), shown + said.encode()
        assert raw.requests == []
        return
    assert code == 0, said
    assert len(raw.requests) == 1, raw.requests
    assert b"\ndelivered: " in shown


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (200, 0, "delivered: a run records it, and then deletes the message"),
        (404, 1, "rejected: status 404; without --failure-queue"),
        (503, 1, "retry: status 503; a run tries it again within"),
    ],
)
def test_it_posts_once_and_says_what_the_policy_makes_of_the_answer(
    virtual_queue: str, recipient: Recipient, tmp_path: Path, status: int, code: int, words: str
) -> None:
    queue = Queue(virtual_queue)
    queue.send(["hello"])
    recipient.behave = lambda delivery: Response(status, body=b"the answer")
    options = ("--peek", queue.name, "--queue", "orders", "--recipient-url", recipient.url, "--post")
    ended, shown, _ = run_try(virtual_queue, tmp_path, *options)
    assert ended == code
    assert words.encode() in shown
    assert b"\nthe answer\n" in shown
    assert f"\nstatus {status} after".encode() in shown
    assert len(recipient.deliveries) == 1
    assert recipient.deliveries[0].headers["x-aws-sqsd-queue"] == "orders"
    assert queue.counts() == (1, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        ([], 2, "FILE: is missing"),
        (["nowhere"], 2, "cannot read nowhere"),
        (["-", "--peek", "orders"], 2, "must be left out"),
        (["-", "--line", "2"], 2, "--line: must be left out without --from"),
        (["--from", "nowhere"], 2, "--from: cannot read nowhere"),
        (["--peek", "no-such-queue"], 3, "--peek"),
        (["-"], 2, "is empty"),
        (["-", "--attribute", "nonsense"], 2, "--attribute"),
        (["--peek", "orders", "--group", "g"], 2, "--group"),
    ],
)
def test_a_wrong_command_is_one_line(
    virtual_queue: str, tmp_path: Path, options: list[str], code: int, word: str
) -> None:
    ended, shown, said = run_try(virtual_queue, tmp_path, *options, "--recipient-url", "http://127.0.0.1:1/")
    assert (ended, shown) == (code, b""), said
    assert said.count("\n") == 1
    assert word in said


def test_a_signal_ends_the_wait_for_an_answer_and_shows_the_message_again(virtual_queue: str, tmp_path: Path) -> None:
    queue = Queue(virtual_queue)
    queue.send(["hello"])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        options = ["--peek", queue.name, "--recipient-url", url, "--post", "--timeout", "60"]
        with started(virtual_queue, tmp_path, *options) as process:
            peer, _ = silent.accept()
            with peer:
                assert peer.recv(4) == b"POST"
                assert queue.counts() == (0, 1)
                process.send_signal(signal.SIGINT)
                assert process.wait(20) == 130
    assert queue.counts() == (1, 0)


def test_a_recipient_that_is_down_is_said(tmp_path: Path) -> None:
    code, shown, _ = run_try(
        "http://127.0.0.1:1", tmp_path, "-", "--recipient-url", "http://127.0.0.1:1/", "--post", stdin=b"x"
    )
    assert code == 1
    assert b"no answer after" in shown
    assert b"retry: connection refused" in shown
