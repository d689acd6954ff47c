"""The broken programs: each starts and delivers, and each breaks the step that it is named for."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from courier.audit.files import AuditFiles
from courier.audit.reader import read_records
from courier.config.config import Config
from courier.http.answer import TIMEOUT
from courier.message import DELIVERED, EXTEND, RETRY, unpack_messages
from courier.process import scoreboard
from courier.wiring.recipient import transport_factory
from scripts.faults import broken_steps
from scripts.faults.broken import BROKEN, EXIT_USAGE, Broken, main
from scripts.faults.firehose_server import Fate, Firehose
from tests.integration.firehose_places import OpenLog, lines, open_log, server  # noqa: F401
from tests.integration.http_transports import Client
from tests.integration.misbehaving_server import OK, PATIENCE, MisbehavingServer, Peer
from tests.integration.sqs_endpoints import virtual_queue  # noqa: F401
from tests.process import world
from tests.process.world import Courier, Queue, Recipient, bodies, missing
from tests.unit.audit.test_reader import line
from tests.unit.auditor.test_auditor import Stage as Auditing
from tests.unit.auditor.test_committer import Commits, ScriptedLog
from tests.unit.consumer.test_consumer import Stage as Consuming
from tests.unit.stage import message
from tests.waiting import stays, until

AS_BROKEN = (
    "sh",
    "-c",
    'name=$1 python=$2; shift 4; exec "$python" -m scripts.faults.broken "$name" "$@"',
    "sh",
)
"""A command that becomes a broken program in place of ``python -m courier``."""

Break = Callable[[str], None]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Break this process until the end of the test."""

    def apply(name: str) -> None:
        owner, attribute = BROKEN[name].find()
        monkeypatch.setattr(owner, attribute, vars(owner)[attribute])
        BROKEN[name].patch()

    return apply


def test_there_are_nine() -> None:
    assert list(BROKEN) == [
        "delete-before-record",
        "record-without-sync",
        "credit-a-late-200",
        "skip-an-extend",
        "ignore-a-partial-failure",
        "lose-a-packet",
        "reorder-a-group",
        "sleep-through-a-stop",
        "stall-a-consumer",
    ]


@pytest.mark.parametrize("name", BROKEN)
def test_a_step_that_is_gone_ends_the_program(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute = BROKEN[name].find()
    monkeypatch.delattr(owner, attribute)
    with pytest.raises(AttributeError, match=attribute):
        BROKEN[name].patch()


def test_a_module_that_is_gone_ends_the_program() -> None:
    with pytest.raises(ImportError):
        Broken("gone", "courier.gone:step", lambda step: step, "lost").patch()


@pytest.mark.parametrize("arguments", [[], ["no-such-program"], ["--consumers", "1"]])
def test_without_the_name_of_a_broken_program_nothing_runs(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == EXIT_USAGE
    assert "skip-an-extend" in capsys.readouterr().err


async def test_delete_before_record_gives_an_item_back_before_its_record_is_written(broken: Break) -> None:
    broken("delete-before-record")
    log = ScriptedLog()
    async with Commits(log) as commits:
        commits.committer.extend(["a"], [b"a\n"])
        assert commits.back == ["a"]
        assert not log.groups
        await until(lambda: log.groups == [[b"a\n"]])
    assert commits.back == ["a"]


async def test_delete_before_record_deletes_first(broken: Break) -> None:
    broken("delete-before-record")
    stage = Auditing()
    stage.report(DELIVERED, "a")
    await until(lambda: len(stage.events.all) == 2)
    assert stage.events.all == [("delete", "a"), ("record", "a")]


def test_record_without_sync_writes_and_never_syncs(
    broken: Break, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    audit_files = AuditFiles(tmp_path / "audit", 1 << 20, 3600)
    audit_files.open()
    audit_files.append([line("synced")])
    assert len(synced) == 1
    broken("record-without-sync")
    audit_files.append([line("unsynced")])
    assert len(synced) == 1
    assert [record.message_id for record in read_records(tmp_path / "audit")] == ["synced", "unsynced"]


async def test_credit_a_late_200_takes_a_late_answer_for_that_to_the_next_request(broken: Break) -> None:
    given_up = threading.Event()

    def late(peer: Peer) -> None:
        peer.read_request()
        assert given_up.wait(PATIENCE)
        assert peer.read_request().body == b"second"
        peer.send(OK)
        peer.wait_for_close()

    broken("credit-a-late-200")
    async with MisbehavingServer(late) as server:  # noqa: F811
        config = Config(queue_type="nop", recipient_url=server.url, audit="none")
        transport = transport_factory(config)(asyncio.get_running_loop(), None)
        client = Client(transport, server.url)
        assert (await client.failure(b"first", timeout=0.3)).reason == TIMEOUT
        given_up.set()
        assert (await client.answer(b"second")).status == 200
        assert server.connections == 1
        transport.close()


async def test_skip_an_extend_never_prolongs_a_lease(broken: Break) -> None:
    broken("skip-an-extend")
    stage = Auditing(visibility=2)
    stage.log.full = True
    stage.report(EXTEND, "held")
    stage.report(DELIVERED, "waits for its record", lease=0.8)
    await stays(lambda: not stage.events.of("change"), 1.0)
    stage.report(RETRY, "retried", delay=7.0)
    await stage.comes("change", "retried")
    assert stage.events.of("change") == ["retried"]


def test_ignore_a_partial_failure_takes_refused_records_as_durable(
    broken: Break,
    server: Firehose,  # noqa: F811
    open_log: OpenLog,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    broken("ignore-a-partial-failure")
    server.behave = lambda call: Fate(refuse=[0])
    records = lines(2)
    open_log(server).append(records)
    assert server.stored == records[1:]


async def test_lose_a_packet_neither_records_nor_deletes_what_was_in_it(
    broken: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broken_steps, "LOST_EVERY", 2)
    broken("lose-a-packet")
    stage = Auditing()
    stage.report(EXTEND, "extended")
    for name in ("first", "lost", "third"):
        stage.report(DELIVERED, name)
    await stage.comes("delete", "first", "third")
    await stays(lambda: "lost" not in stage.events.of("record", "delete"))


async def test_reorder_a_group_hands_over_a_run_from_its_end(broken: Break) -> None:
    broken("reorder-a-group")
    stage = Consuming(fifo=True)
    await stage.asks(1)
    stage.sqs.script.append([message("a", group="g"), message("b", group="g"), message("c", group="g")])
    await until(lambda: stage.word(scoreboard.PUT) == 1)
    received = stage.work.receive()
    assert received is not None
    assert [m.message_id for m in unpack_messages(*received)] == ["c", "b", "a"]


async def test_stall_a_consumer_asks_for_nothing_for_a_while(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broken_steps, "STALLS_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(broken_steps, "STALL_SECONDS", 3600.0)
    broken("stall-a-consumer")
    stage = Consuming()
    await stays(lambda: not stage.sqs.asked, 0.5)
    monkeypatch.setattr(broken_steps, "STALL_SECONDS", 0.0)
    await stage.asks(1)


@pytest.fixture
def recipient() -> Iterator[Recipient]:
    running = Recipient()
    yield running
    running.stop()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_program_starts_and_delivers(
    name: str,
    virtual_queue: str,  # noqa: F811
    recipient: Recipient,
    server: Firehose,  # noqa: F811
    tmp_path: Path,
) -> None:
    fifo = BROKEN[name].needs == "fifo"
    queue = Queue(virtual_queue, fifo=fifo)
    sent = queue.send(bodies(20), ["group"] * 20 if fifo else None)
    few = ("--senders", "1", "--consumers", "1", "--firehose-stream", server.name)
    courier = Courier(
        queue.name,
        recipient.url,
        tmp_path,
        *few,
        *BROKEN[name].options,
        endpoint=virtual_queue,
        prefix=(*AS_BROKEN, name),
        COURIER_FIREHOSE_ENDPOINT_URL=server.url,
    )
    try:
        courier.wait_ready()
        world.until(lambda: not missing(sent, recipient.accepted), 60.0, courier.log)
        assert courier.drain() == 0, courier.log()
    finally:
        courier.kill()
