"""The peers as the suite runs them: one process each, started again whenever it ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from courier.local.exchange import Request, Response
from scripts.bench.programs import Program
from scripts.faults import peers
from scripts.faults.peers import Peer, PeerInstance
from scripts.faults.process_tree import ProcessTree
from scripts.faults.program import Adapter, ProgramFailed, Setting
from tests.integration.sqs_endpoints import virtual_queue  # noqa: F401
from tests.process.world import Queue, until
from tests.threaded_server import ThreadedServer

CACHE = Path(sys.prefix) / "faults-peers"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


@pytest.fixture
def accepted() -> set[str]:
    return set()


@pytest.fixture
def recipient(accepted: set[str]) -> Iterator[str]:
    def accept(request: Request) -> Response:
        accepted.add(request.headers["x-aws-sqsd-msgid"])  # the only header of the message that peers send
        return Response(200)

    server = ThreadedServer(accept)
    yield f"{server.url}/in"
    server.stop()


@pytest.fixture
def queue(virtual_queue: str) -> Queue:  # noqa: F811
    return Queue(virtual_queue)


@pytest.fixture
def setting(queue: Queue, recipient: str, tmp_path: Path) -> Setting:
    return Setting(queue.url, queue.endpoint, "us-east-1", recipient, tmp_path / "run")


@pytest.fixture(params=["by-hand", pytest.param("sqs-consumer", marks=pytest.mark.full)])
def adapter(request: pytest.FixtureRequest) -> Adapter:
    adapter = peers.by_hand() if request.param == "by-hand" else peers.sqs_consumer(CACHE)
    if adapter is None:
        pytest.skip("needs node and npm, and the packages of sqs-consumer")
    return adapter


def started(adapter: Adapter, setting: Setting) -> PeerInstance:
    instance = adapter.start(setting)
    assert isinstance(instance, PeerInstance)
    return instance


def test_a_peer_delivers_starts_again_after_a_kill_and_drains(
    adapter: Adapter, setting: Setting, queue: Queue, accepted: set[str]
) -> None:
    assert not adapter.audits
    with started(adapter, setting).wait_ready() as peer:
        queue.send(["a", "b"])
        until(lambda: queue.counts() == (0, 0), explain=peer.log)
        first, cpu = peer.pid, peer.cpu()
        assert peer.pids("sender") == peer.pids("any") == [first]
        assert peer.rss() > 1000
        assert peer.descriptors() > 3
        assert peer.kill(first)
        until(lambda: peer.pid != first and peer.is_ready(), explain=peer.log)
        assert peer.alive
        assert peer.restarts == 1
        assert peer.cpu() > cpu > 0
        queue.send(["c"])
        until(lambda: queue.counts() == (0, 0), explain=peer.log)
        assert peer.drain() == 0
        assert not peer.alive
    assert len(accepted) == 3


def test_a_power_cut_leaves_no_process_and_nothing_starts_again(setting: Setting) -> None:
    with started(peers.by_hand(), setting).wait_ready() as peer:
        peer.kill_all()
        assert not peer.alive
        assert ProcessTree(peer.pid).living() == peer.pids("any") == []
        peer.kill_all()
        assert peer.restarts == 0


def test_a_peer_that_ends_by_itself_starts_again(setting: Setting) -> None:
    with started(Peer(Program("short", (sys.executable, "-c", "print('hello')"))), setting) as peer:
        until(lambda: peer.log().count("hello") >= 3, explain=peer.log)


def test_a_peer_goes_to_the_sqs_of_its_setting_whatever_server_its_queue_url_names(setting: Setting) -> None:
    show = "import os; print(os.environ['QUEUE_URL'])"
    gated = replace(setting, queue_url="http://127.0.0.1:1/000000000000/name", sqs_url="http://127.0.0.1:2")
    with started(Peer(Program("show", (sys.executable, "-c", show))), gated) as peer:
        until(lambda: "http://127.0.0.1:2/000000000000/name\n" in peer.log(), explain=peer.log)


def test_a_peer_that_does_not_end_is_reported_and_killed(setting: Setting) -> None:
    with started(Peer(Program("deaf", (sys.executable, "-c", DEAF))), setting) as peer:
        until(lambda: "deaf" in peer.log(), explain=peer.log)
        with pytest.raises(ProgramFailed, match=r"did not end within 0\.2 s"):
            peer.drain(0.2)
        assert peer.alive
        peer.signal(signal.SIGKILL)
        assert peer.wait(20.0) == -signal.SIGKILL
    assert peer.restarts == 0


def test_a_peer_that_cannot_run_here_is_left_out_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [peer.name for peer in peers.peers(tmp_path / "cache")] == ["by-hand"]
    assert "sqs-consumer is left out: no node and no npm" in capfd.readouterr().err
