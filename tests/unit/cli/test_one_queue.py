"""``--queue NAME`` of the commands on audit logs and dead letters, and what they say where it is missing or wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from courier import cli
from tests.unit.audit.written import Delivery, write

TABLES = """
audit-path = '{above}'
region = "eu-west-1"
[[queue]]
name = "orders"
queue = "orders"
[[queue]]
name = "mails"
queue = "mails"
audit-path = '{mails}'
"""
PLACES = {
    "grep": ["audit", "grep"],
    "tail": ["audit", "tail"],
    "stats": ["audit", "stats"],
    "export": ["audit", "export", "--to", "jsonl"],
    "verify": ["audit", "verify"],
}
REPLAY = ["audit", "replay", "--recipient-url", "http://127.0.0.1:9/"]
by_command = pytest.mark.parametrize("command", PLACES.values(), ids=PLACES.keys())


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    places = {"orders": tmp_path / "state" / "queues" / "orders" / "audit", "mails": tmp_path / "elsewhere"}
    for name, place in places.items():
        place.mkdir(parents=True)
        write(place, 1, [Delivery(message_id=f"of-{name}", body=name.encode()).line()])
    found = tmp_path / "several.toml"
    found.write_text(TABLES.format(above=tmp_path / "state" / "audit", mails=places["mails"]))
    return found


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = cli.main([*map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("name", ["orders", "mails"])
@by_command
def test_the_audit_log_of_a_queue_is_read(
    file: Path, capsys: pytest.CaptureFixture[str], command: list[str], name: str
) -> None:
    # In either order: the one depends on the other.
    for options in (["--config", str(file), "--queue", name], ["--queue", name, "--config", str(file)]):
        code, out, error = run(capsys, *command, *options)
        assert code == 0, error
        assert command[1] in ("stats", "verify") or f"of-{name}" in out
        assert "of-mails" not in out or name == "mails"


@by_command
def test_a_file_with_tables_needs_a_name_or_a_directory(
    file: Path, capsys: pytest.CaptureFixture[str], command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, error = run(capsys, *command, "--config", file)
    assert code == 2
    assert error.count("\n") == 1
    assert "--queue: is missing; several.toml has several queues, give one of orders, mails, or DIR" in error
    monkeypatch.setenv("COURIER_CONFIG", str(file))
    assert run(capsys, *command, file.parent / "elsewhere")[0] == 0
    code, _, error = run(capsys, *command, *(["order"] if "grep" in command else []), "elsewhere", "--queue", "mails")
    assert code == 2
    assert "--queue: must be left out with DIR" in error
    code, _, error = run(capsys, *command, "--queue", "nowhere")
    assert code == 2
    assert "several.toml has no [[queue]] of that name; give one of orders, mails" in error
    monkeypatch.delenv("COURIER_CONFIG")
    code, _, error = run(capsys, *command, "--queue", "mails")
    assert code == 2
    assert "--queue: names a [[queue]] table, and there is none; give --config" in error


@by_command
def test_a_file_without_tables_names_the_directory_too(
    file: Path, capsys: pytest.CaptureFixture[str], command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(f"audit-path = '{file.parent / 'elsewhere'}'\n")
    assert run(capsys, *command, "--config", file)[0] == 0
    # A variable is nearer.
    monkeypatch.setenv("COURIER_AUDIT_PATH", "nowhere")
    assert run(capsys, *command, "--config", file)[0] == 3


def test_a_replay_sends_the_records_of_the_queue(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, error = run(capsys, *REPLAY, "--config", file, "--queue", "mails")
    assert code == 0, error
    assert "of-mails" in out
    code, out, error = run(capsys, *REPLAY, "--config", file, "--queue", "orders")
    assert code == 0, error
    assert "of-orders" in out
    code, _, error = run(capsys, *REPLAY, "--config", file)
    assert code == 2
    assert "give one of orders, mails" in error


@pytest.mark.parametrize("command", ["peek", "stats"])
def test_dead_letters_need_the_name_only_for_reasons(
    file: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    endpoint = ["--endpoint-url", "http://127.0.0.1:9"]
    code, _, error = run(capsys, "dlq", command, "dead", "--config", file, "--where", "status=404", *endpoint)
    assert code == 2
    assert (
        "--where: needs the reasons of the audit log, and each queue has its own; give --queue, one of orders" in error
    )
    code, _, error = run(capsys, "dlq", command, "dead", "--config", file, "--queue", "nowhere")
    assert code == 2
    assert "give one of orders, mails" in error
