from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from courier.audit.lock import DirectoryLock
from courier.config.config import Config
from courier.fetch.pointer import BucketPrefix
from courier.http.guard import AddressGuard, parse_network
from courier.http.url_parsing import read_url
from courier.preflight import check_recipient, describe, preflight
from courier.sqs.queue import QueueInfo

ENDPOINT = read_url("http://127.0.0.1:9324")
QUEUE = QueueInfo("http://127.0.0.1:9324/0/orders", "orders", "us-east-1", ENDPOINT, False, 30, 10, "arn:dead")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def config(tmp_path: Path, **values: Any) -> Config:
    given: dict[str, Any] = {
        "queue_type": "nop",
        "recipient_url": "http://127.0.0.1:1/",
        "audit_path": tmp_path / "audit",
    }
    return Config(**(given | values))


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_without_a_queue_the_audit_directory_and_the_recipient_are_looked_at(tmp_path: Path) -> None:
    found = preflight(config(tmp_path))
    assert found.ok
    assert found.queue is None
    assert [check.name for check in found.checks] == ["audit", "recipient"]


def test_the_audit_directory_is_free_again_after_the_look(tmp_path: Path) -> None:
    assert preflight(config(tmp_path)).ok
    DirectoryLock(tmp_path / "audit").acquire(0)


def test_a_directory_that_is_in_use_is_told_with_what_to_do(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path / "audit")
    lock.acquire(0)
    [audit, _] = preflight(config(tmp_path), lock_timeout=0).checks
    assert not audit.ok
    assert "in use by process" in audit.detail
    assert "--audit-path" in audit.advice
    lock.release()


@pytest.mark.parametrize(("mode", "warnings"), [(0o2770, 0), (0o777, 1)])
def test_a_directory_that_every_user_can_write_to_gets_a_warning(tmp_path: Path, mode: int, warnings: int) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit").chmod(mode)
    [audit, _] = preflight(config(tmp_path)).checks
    assert audit.ok
    assert len(audit.warnings) == warnings
    assert all(f"chmod o-w {tmp_path / 'audit'}" in line for line in audit.warnings)


def test_a_link_in_the_audit_directory_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    planted = tmp_path / "audit" / "courier-20261124T123140.123Z-000001.jsonl"
    planted.symlink_to("/etc/passwd")
    [audit, _] = preflight(config(tmp_path)).checks
    assert not audit.ok
    assert f"{planted}: it is a symbolic link" in audit.detail
    assert "--audit-path" in audit.advice


def test_no_audit_log_means_no_directory(tmp_path: Path) -> None:
    found = preflight(config(tmp_path, audit="none"))
    assert [check.name for check in found.checks] == ["recipient"]
    assert not (tmp_path / "audit").exists()


def test_without_credentials_sqs_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    found = preflight(config(tmp_path, queue_type="remote", queue="orders", region="us-east-1"))
    assert [(check.name, check.ok) for check in found.checks] == [
        ("credentials", False),
        ("audit", True),
        ("recipient", True),
    ]
    assert "AWS_ACCESS_KEY_ID" in found.checks[0].advice


def test_starting_needs_no_recipient_that_is_up_but_checking_does(listener: socket.socket) -> None:
    up = read_url(f"http://127.0.0.1:{listener.getsockname()[1]}/path")
    down = read_url(f"http://127.0.0.1:{closed_port()}/path")
    assert check_recipient(up, 5, connect=True).ok
    assert check_recipient(down, 5, connect=False).ok
    refused = check_recipient(down, 5, connect=True)
    assert not refused.ok
    assert "Connection refused" in refused.detail
    assert "start the recipient" in refused.advice
    assert "of --recipient-url" in refused.detail
    of_route = check_recipient(down, 5, connect=True, option="--routes").detail
    assert "of --routes" in of_route
    assert "--recipient-url" not in of_route


def test_a_recipient_that_speaks_no_tls_is_told(listener: socket.socket) -> None:
    target = read_url(f"https://127.0.0.1:{listener.getsockname()[1]}/")
    assert "no answer within the connect timeout" in check_recipient(target, 0.1, connect=True).detail


def test_a_name_that_does_not_resolve_stops_the_start() -> None:
    check = check_recipient(read_url("http://no-such-host.invalid/"), 5, connect=False)
    assert not check.ok
    assert "no-such-host.invalid" in check.detail


def test_a_recipient_that_the_guard_denies_stops_the_start_in_one_line(listener: socket.socket) -> None:
    target = read_url(f"http://2130706433:{listener.getsockname()[1]}/")
    for connect in (False, True):
        check = check_recipient(target, 5, connect=connect, guard=AddressGuard())
        assert not check.ok
        assert "127.0.0.1 is denied: loopback (127.0.0.0/8)" in check.detail
        assert "--deny-private" in check.detail
        assert "--allow-cidr" in check.advice
        assert "\n" not in check.detail
        assert check_recipient(target, 5, connect=connect, guard=AddressGuard([parse_network("127.0.0.1")])).ok


def test_of_a_name_with_several_addresses_one_that_answers_is_enough() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:  # and not on ::1, which localhost may be first
        target = read_url(f"http://localhost:{listening.getsockname()[1]}/")
        assert check_recipient(target, 5, connect=True).ok


def test_where_there_is_a_proxy_it_is_asked_in_the_place_of_the_recipient(listener: socket.socket) -> None:
    target = read_url("https://known-to-the-proxy-alone.invalid/")
    up = check_recipient(target, 5, connect=True, proxy=("127.0.0.1", listener.getsockname()[1]))
    assert up.ok
    assert "the proxy 127.0.0.1:" in up.detail
    down = check_recipient(target, 5, connect=True, proxy=("127.0.0.1", closed_port()))
    assert not down.ok
    assert "the proxy 127.0.0.1:" in down.detail


def test_nothing_that_may_be_a_key_is_shown_of_the_recipient(listener: socket.socket) -> None:
    target = read_url(f"http://127.0.0.1:{listener.getsockname()[1]}/secret?key=secret")
    for connect in (False, True):
        assert "secret" not in str(check_recipient(target, 5, connect=connect))


def test_a_queue_is_told_with_what_may_surprise() -> None:
    assert "to arn:dead after 10 receives" in describe(QUEUE)
    few = QueueInfo(QUEUE.url, QUEUE.name, QUEUE.region, ENDPOINT, True, 30, 1, "arn:dead")
    assert "FIFO" in describe(few)
    assert "3 or more" in describe(few)
    never = QueueInfo(QUEUE.url, QUEUE.name, QUEUE.region, ENDPOINT, False, 30)
    assert "no redrive policy" in describe(never)


def test_periodic_tasks_are_read_and_the_next_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "cron.yaml"
    file.write_text("version: 1\ncron:\n - {name: daily, url: /daily, schedule: '0 0 * * *'}\n")
    config_with = config(tmp_path, queue_type="virtual", queue="orders", audit="none", cron=file)
    (check,) = [each for each in preflight(config_with).checks if each.name == "tasks"]
    assert check.ok
    assert check.detail.startswith(f"1 in {file}, next daily at ")
    assert check.detail.endswith(" 00:00:00 UTC")
    file.write_text("version: 2")
    (check,) = [each for each in preflight(replace(config_with)).checks if each.name == "tasks"]
    assert not check.ok
    assert "version: 1" in check.advice


def test_what_fetching_needs_is_looked_at_without_asking_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {
        "audit": "none",
        "body": "fetch",
        "fetch_bucket": (BucketPrefix("bodies", "ours/"),),
        "fetch_endpoint_url": "http://127.0.0.1:1",
    }
    (check,) = (each for each in preflight(config(tmp_path, **options)).checks if each.name == "fetch")
    assert check.ok, check
    assert "bodies/ours/ at http://127.0.0.1:1" in check.detail

    def read_only() -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("courier.preflight.nameless_file", read_only)
    (check,) = (each for each in preflight(config(tmp_path, **options)).checks if each.name == "fetch")
    assert not check.ok
    assert "TMPDIR" in check.advice
