"""docs/bodies.md: each example of it is run, and the recipient gets what stands there.

An example begins with a block ``sh``, the command. The blocks behind it are of these kinds, each as often as needed:

- ``message``: a message that is put into the queue: its attributes (``name: value``, or ``name (Number): value``), an
  empty line, and the body.
- ``request``: a request that the recipient must get, in any order: the request line, some of its headers, an empty
  line, and the body. ``…`` stands for any text. A header ``!Name:`` must be missing.
- ``object``: an object that is in S3: its bucket and key, an empty line, and its content.
- ``toml``: the file of ``--routes``.
- ``rejected``: the reason with which a message must come to the failure queue.

The queues, the recipient and the servers of the page are others in the test; :data:`Places` says which.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from courier.local.exchange import Request, Response
from courier.recipient.content import UNSENDABLE
from tests.faulty_s3 import faulty_s3, kept
from tests.process.world import Courier, Queue, until
from tests.threaded_server import ThreadedServer
from tests.unit.body.signed import certificate

PAGE: Final = Path(__file__).parents[2] / "docs" / "bodies.md"
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTION: Final = re.compile(r"^#+ (.*)$", re.MULTILINE)
ATTRIBUTE: Final = re.compile(r"([\w.-]+)(?: \(([\w.]+)\))?: (.*)")
RECIPIENT: Final = "http://127.0.0.1:8000"
CERTIFICATES: Final = "http://127.0.0.1:8001"
FETCHES: Final = "--fetch-bucket"
QUEUE_OPTIONS: Final = ("--queue", "--failure-queue")

Places = Mapping[str, str]
"""Texts of the page, such as the address of a server, by what stands in their place in the test."""


class Example(NamedTuple):
    """One example: the section that it stands in, its command, and the blocks behind it, each with its kind."""

    section: str
    command: str
    blocks: tuple[tuple[str, str], ...]

    def of(self, kind: str) -> list[str]:
        """Return the blocks of a kind."""
        return [text for each, text in self.blocks if each == kind]


def examples() -> list[Example]:
    """Read the examples of the page."""
    text = PAGE.read_text()
    found: list[Example] = []
    for block in BLOCK.finditer(text):
        kind, content = block.groups()
        if kind == "sh":
            section = SECTION.findall(text, 0, block.start())[-1]
            found.append(Example(section, content, ()))
        elif kind in ("message", "request", "rejected", "object", "toml"):
            found[-1] = found[-1]._replace(blocks=(*found[-1].blocks, (kind, content)))
    return found


class Requests:
    """A recipient of any path and header, which takes everything."""

    def __init__(self) -> None:
        self.got: list[Request] = []
        self.server = ThreadedServer(self._answer)

    def _answer(self, request: Request) -> Response:
        self.got.append(request)
        return Response(200)


def entry(block: str) -> dict[str, Any]:
    """Return what SendMessage needs for a block ``message``."""
    head, _, body = block.removesuffix("\n").partition("\n\n") if not block.startswith("\n") else ("", "", block[1:-1])
    attributes = {}
    for line in head.splitlines():
        found = ATTRIBUTE.fullmatch(line)
        assert found, f"no attribute: {line!r}"
        attributes[found[1]] = {"DataType": found[2] or "String", "StringValue": found[3]}
    return {"MessageBody": body, "MessageAttributes": attributes}


def pattern(text: str) -> re.Pattern[str]:
    """Return the pattern of a text in which … stands for anything."""
    return re.compile(".*?".join(map(re.escape, text.split("…"))), re.DOTALL)


def is_like(request: Request, block: str, names: Mapping[str, str]) -> bool:
    """Return whether a request is the one of a block ``request``; ``names`` are the queues, by those of the page."""
    head, _, body = block.removesuffix("\n").partition("\n\n")
    line, *headers = head.splitlines()
    if line != f"{request.method} {request.target} HTTP/1.1":
        return False
    for header in headers:
        name, _, value = header.partition(":")
        got = request.headers.get(name.removeprefix("!").lower())
        if name.startswith("!") != (got is None):
            return False
        wanted = value.strip()
        if got is not None and not pattern(names.get(wanted, wanted)).fullmatch(got):
            return False
    return pattern(body).fullmatch(request.body.decode("utf-8", "backslashreplace")) is not None


def run(example: Example, endpoint: str, directory: Path, places: Places) -> None:
    """Run the command of an example on its messages, and wait for all that must come."""
    with ExitStack() as stack:
        environ: dict[str, str] = {}
        if FETCHES in example.command:
            s3 = stack.enter_context(faulty_s3())
            environ["COURIER_FETCH_ENDPOINT_URL"] = s3.url
            for block in example.of("object"):
                place, _, content = block.removesuffix("\n").partition("\n\n")
                s3.bucket, _, key = place.partition("/")
                s3.objects[key] = kept(content.encode())
        run_with(example, endpoint, directory, places, environ)


def run_with(example: Example, endpoint: str, directory: Path, places: Places, environ: Mapping[str, str]) -> None:
    """Run the command of an example with some variables."""
    recipient = Requests()
    replaced = {RECIPIENT: recipient.server.url, **places}
    program, *options = shlex.split(_with(replaced, example.command.replace("\\\n", " ")))
    assert program == "courier", example.command
    queues: dict[str, Queue] = {}
    names: dict[str, str] = {}
    for option in filter(options.__contains__, QUEUE_OPTIONS):
        place = options.index(option) + 1
        queues[option] = Queue(endpoint, fifo=options[place].endswith(".fifo"))
        names[options[place]] = queues[option].name
        options[place] = queues[option].name
    if "--routes" in options:
        place = options.index("--routes") + 1
        (directory / options[place]).write_text(_with(replaced, example.of("toml")[0]))
        options[place] = str(directory / options[place])
    queue = queues["--queue"]
    for block in example.of("message"):
        queue.sqs.send_message(QueueUrl=queue.url, **entry(_with(replaced, block)))
    wanted = example.of("request")
    courier = Courier(queue.name, f"{recipient.server.url}/", directory, *options, endpoint=endpoint, **environ)
    try:
        courier.wait_ready()
        until(
            lambda: all(any(is_like(request, block, names) for request in recipient.got) for block in wanted),
            20,
            lambda: "\n".join([*map(str, recipient.got), courier.log()]),
        )
        for reason in example.of("rejected"):
            assert next_reason(queues["--failure-queue"], courier.log) == reason.strip()
        assert courier.drain() == 0, courier.log()
        assert len(recipient.got) == len(wanted), recipient.got
    finally:
        courier.kill()
        recipient.server.stop()


def _with(places: Places, text: str) -> str:
    for of_the_page, place in places.items():
        text = text.replace(of_the_page, place)
    return text


def next_reason(queue: Queue, log: Callable[[], str]) -> str:
    """Wait for a message in the failure queue, and return why it is there."""
    found: list[str] = []

    def arrived() -> bool:
        answer = queue.sqs.receive_message(QueueUrl=queue.url, MessageAttributeNames=["All"])
        for message in answer.get("Messages", ()):
            found.append(json.loads(message["MessageAttributes"]["CourierFailure"]["StringValue"])["reason"])
            queue.sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])
        return bool(found)

    until(arrived, 30, log)
    return found[0]


def test_the_page_says_what_each_reason_means() -> None:
    text = PAGE.read_text()
    assert [reason for reason in UNSENDABLE if f"`{reason}`" not in text] == []


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.section)
def test_the_recipient_gets_what_the_page_says(example: Example, virtual_queue: str, tmp_path: Path) -> None:
    assert example.of("message"), example
    assert example.of("request") or example.of("rejected"), example
    certificates = ThreadedServer(lambda _: Response(200, [], certificate()))
    try:
        run(example, virtual_queue, tmp_path, {CERTIFICATES: certificates.url})
    finally:
        certificates.stop()
