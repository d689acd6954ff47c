"""A recipient that means harm: it gets no false success, no time, no memory and no message out of Courier."""

from __future__ import annotations

import os
import re
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from scripts.bench.tree import Tree
from tests.integration.misbehaving_server import Peer, on_one_port
from tests.process.hostile_recipient import ENDLESS_SUCCESS, HOSTILITIES, RETRY_AFTER, TIMEOUT, HostileRecipient
from tests.process.world import Courier, Queue, until

OF_EACH: Final = 3
GROWTH: Final = 64 * 1024
"""KiB by which all processes together may grow."""

EAGER: Final = ("--backoff-base", "0.1", "--backoff-cap", "0.5", "--visibility-timeout", "10")
IN_TIME: Final = ("--timeout", f"{TIMEOUT:g}", "--connect-timeout", "1")
SMALL: Final = ("--senders", "2", "--concurrency", "16", "--consumers", "1")
# A recipient like this would be left alone for a while, and this is about what it can do as long as it isn't.
UNBROKEN: Final = (
    *("--breaker-threshold", "0", "--reject-share", "0"),
    *("--breaker-cool-down", "0.1", "--breaker-longest-cool-down", "0.1"),
)


class Ordeal(NamedTuple):
    """What was seen of one run: while the recipient was hostile, and after it had calmed down."""

    recipient: HostileRecipient
    kinds: dict[str, str]
    early: set[str]
    recorded: set[str]
    growth: int
    left: tuple[int, int]
    exit_code: int
    log: str


@pytest.fixture(scope="module", params=["native", "requests"])
def ordeal(request: pytest.FixtureRequest, virtual_queue: str, tmp_path_factory: pytest.TempPathFactory) -> Ordeal:
    """Send messages of each kind, and wait until each has been tried several times, and then for the end of it."""
    queue = Queue(virtual_queue)
    with HostileRecipient() as recipient:
        courier = Courier(
            queue.name,
            recipient.url,
            tmp_path_factory.mktemp("hostile"),
            *("--transport", request.param),
            *(*EAGER, *IN_TIME, *SMALL, *UNBROKEN),
            endpoint=queue.endpoint,
        )
        try:
            courier.wait_ready()
            tree = Tree(courier.pid)
            before = sum(tree.pss_kib().values())
            bodies = [ENDLESS_SUCCESS, RETRY_AFTER, *HOSTILITIES] * OF_EACH
            kinds = dict(zip(queue.send(bodies), bodies, strict=True))
            sizes = []

            def is_enough() -> bool:
                sizes.append(sum(tree.pss_kib().values()))
                tries = {name: 2 if kind in HOSTILITIES else 1 for name, kind in kinds.items()}
                return recipient.attempts >= Counter(tries)

            until(is_enough, 60, courier.log, every=0.1)
            early = set(courier.recorded())
            recipient.calm_down()
            until(lambda: queue.counts() == (0, OF_EACH), 60, courier.log)
            code = courier.drain()
            recorded = set(courier.recorded())
            return Ordeal(recipient, kinds, early, recorded, max(sizes) - before, queue.counts(), code, courier.log())
        finally:
            courier.kill()


def ids(ordeal: Ordeal, kind: str) -> set[str]:
    return {name for name, each in ordeal.kinds.items() if each == kind}


@pytest.mark.together
def test_nothing_but_success_is_taken_for_success(ordeal: Ordeal) -> None:
    assert {ordeal.kinds[name] for name in ordeal.early} <= {ENDLESS_SUCCESS}


@pytest.mark.together
def test_an_answer_that_never_ends_is_cut_and_a_success_all_the_same(ordeal: Ordeal) -> None:
    assert {ordeal.recipient.attempts[name] for name in ids(ordeal, ENDLESS_SUCCESS)} == {1}
    # Most of this is what the kernel took before anybody read it.
    assert ordeal.recipient.most_sent < 64 << 20


@pytest.mark.together
def test_no_attempt_outlasts_its_deadline(ordeal: Ordeal) -> None:
    assert not +ordeal.recipient.outlasted


@pytest.mark.together
def test_no_redirect_is_followed(ordeal: Ordeal) -> None:
    assert ordeal.recipient.redirected == []


@pytest.mark.together
def test_memory_does_not_grow(ordeal: Ordeal) -> None:
    assert ordeal.growth < GROWTH


@pytest.mark.together
def test_a_message_waits_as_long_as_it_is_told_to(ordeal: Ordeal) -> None:
    waiting = ids(ordeal, RETRY_AFTER)
    assert {ordeal.recipient.attempts[name] for name in waiting} == {1}
    assert ordeal.left == (0, len(waiting))


@pytest.mark.together
def test_nothing_is_lost(ordeal: Ordeal) -> None:
    assert ordeal.recorded == set(ordeal.kinds) - ids(ordeal, RETRY_AFTER)
    assert ordeal.exit_code == 0
    assert "Traceback" not in ordeal.log


NAME: Final = "rebinding.example"
OWN_HOSTS: Final = ("sh", "-c", 'mount --bind "$HOSTS" /etc/hosts && exec "$@"', "sh")


@pytest.fixture
def with_hosts_of_its_own() -> list[str]:
    """A command that runs another one with the file $HOSTS as /etc/hosts."""
    if os.getuid() == 0:
        return ["unshare", "-m", *OWN_HOSTS]
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("neither root nor user namespaces")
    return ["unshare", "-Urm", *OWN_HOSTS]


class Rebinding:
    """Two recipients on one port: the one that may be reached, on 127.0.0.2, and one that may not, on 127.0.0.1."""

    def __init__(self, hosts: Path) -> None:
        self.hosts = hosts
        self.resolve_to("127.0.0.2")
        self.permitted, self.denied = on_one_port(self._accept, "127.0.0.2", "127.0.0.1")

    @property
    def url(self) -> str:
        return self.permitted.url.replace("127.0.0.2", NAME)

    def resolve_to(self, address: str) -> None:
        # Written in its place: the mount holds this very file.
        self.hosts.write_text(f"{address} {NAME}\n127.0.0.1 localhost\n")

    def _accept(self, peer: Peer) -> None:
        # A connection for each message, or nobody would ask for the name again.
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        peer.wait_for_close()


@pytest.fixture
def rebinding(tmp_path: Path) -> Iterator[Rebinding]:
    rebinding = Rebinding(tmp_path / "hosts")
    with rebinding.permitted, rebinding.denied:
        yield rebinding


@pytest.mark.parametrize("transport", ["native", "requests"])
def test_a_name_that_rebinds_to_a_denied_address_gets_no_connection_there(
    queue: Queue,
    rebinding: Rebinding,
    with_hosts_of_its_own: list[str],
    tmp_path: Path,
    free_port: int,
    transport: str,
) -> None:
    courier = Courier(
        queue.name,
        rebinding.url,
        tmp_path,
        *("--transport", transport, "--deny-private", "--allow-cidr", "127.0.0.2"),
        *(*EAGER, *IN_TIME, *SMALL, *UNBROKEN),
        endpoint=queue.endpoint,
        prefix=with_hosts_of_its_own,
        HOSTS=str(rebinding.hosts),
        COURIER_API=f"127.0.0.1:{free_port}",
    )

    def denials() -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=10) as answer:
            told = re.search(r'retried_total\{reason="address denied"\} (\S+)', answer.read().decode())
        return float(told[1]) if told else 0.0

    try:
        courier.wait_ready()
        sent = queue.send(["first"])
        until(lambda: queue.counts() == (0, 0), explain=courier.log)
        rebinding.resolve_to("127.0.0.1")
        deadline = time.monotonic() + 30
        while denials() < 20:  # a sender may go by what it was told for a few seconds
            assert time.monotonic() < deadline, courier.log()
            sent += queue.send(["more"] * 4)
            time.sleep(0.2)
        rebinding.resolve_to("127.0.0.2")
        until(lambda: queue.counts() == (0, 0), 30, courier.log)
        assert courier.drain() == 0
        assert rebinding.denied.connections == 0
        assert courier.recorded() == dict.fromkeys(sent, 1)
    finally:
        courier.kill()


def test_a_recipient_that_is_denied_from_the_start_stops_it_in_one_line(
    queue: Queue, rebinding: Rebinding, tmp_path: Path
) -> None:
    url = rebinding.denied.url
    courier = Courier(queue.name, url, tmp_path, "--deny-private", endpoint=queue.endpoint)
    try:
        assert courier.wait(30) == 3
        last = courier.log().splitlines()[-1]
        assert "127.0.0.1 is denied: loopback (127.0.0.0/8)" in last
        assert "--allow-cidr" in last
    finally:
        courier.kill()
