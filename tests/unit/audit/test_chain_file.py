from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from courier.audit.chain import read_chain_file
from courier.audit.chain_file import ChainFile
from tests.unit.audit.faulty_os import Killed, faulty_os


def numbers(path: Path) -> list[int]:
    """Read a chain without a fault."""
    chain = read_chain_file(path)
    assert chain.fault == ""
    return [link.fields["n"] for link in chain.links]


def test_lines_are_chained_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "chain"
    for n in range(3):
        file = ChainFile(path)
        assert len(file.read().links) == 2 * n
        file.append({"n": 2 * n})
        file.append({"n": 2 * n + 1})
    assert numbers(path) == list(range(6))
    assert path.stat().st_mode & 0o137 == 0


def test_a_line_is_there_or_not_there_after_an_error_of_any_operation_and_can_be_added_again(tmp_path: Path) -> None:
    path = tmp_path / "chain"
    file = ChainFile(path)
    with faulty_os() as faults:
        for n in range(6):
            for failing in ("chain", tmp_path.name):
                faults.fail(lambda name, failing=failing: name == failing)  # type: ignore[misc]
                if n == 0 or failing == "chain":
                    with pytest.raises(OSError, match="No space left"):
                        file.append({"n": n})
            faults.heal()
            file.append({"n": n})
    assert numbers(path) == list(range(6))


def test_a_kill_between_any_two_operations_leaves_whole_lines_to_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "chain"
    for after in range(8):
        path.unlink(missing_ok=True)
        ChainFile(path).append({"n": 0})
        with faulty_os() as faults:
            faults.kill_after(after)
            file = ChainFile(path)
            killed = False
            try:
                file.append({"n": 1})
                file.append({"n": 2})
            except Killed:
                killed = True
        ChainFile(path).append({"n": 9})
        assert numbers(path) in ([0, 9], [0, 1, 9], [0, 1, 2, 9])
        if not killed:
            break
    else:
        raise AssertionError("it never ran to its end")


@pytest.mark.parametrize("torn", range(1, 90))
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "chain"
    file = ChainFile(path)
    file.append({"n": 0})
    end = path.stat().st_size
    file.append({"n": 1})
    os.truncate(path, min(end + torn, path.stat().st_size - 1))
    ChainFile(path).append({"n": 2})
    assert numbers(path) == [0, 2]


def test_damage_is_told_and_never_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "chain"
    file = ChainFile(path)
    file.append({"n": 0})
    file.append({"n": 1})
    content = path.read_bytes().replace(b'{"n":0', b'{"n":7')
    path.write_bytes(content)
    with capture_logs() as logs, faulty_os() as faults:
        again = ChainFile(path)
        faults.fail(lambda name: name == "chain")
        with pytest.raises(OSError, match="No space"):
            again.append({"n": 2})
        assert path.read_bytes().startswith(content)
        faults.heal()
        again.append({"n": 2})
    assert path.read_bytes().startswith(content)
    assert len(path.read_bytes().splitlines()) == 3
    assert [(entry["file"], entry["offset"]) for entry in logs] == [(str(path), 0)]


@pytest.mark.parametrize("there", ["link", "fifo"])
def test_it_writes_through_no_link_and_waits_for_no_fifo(tmp_path: Path, there: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    path = tmp_path / "chain"
    path.symlink_to(victim) if there == "link" else os.mkfifo(path)
    with pytest.raises(OSError, match=r"FIFO|symbolic|No such device"):
        ChainFile(path).append({"n": 0})
    assert victim.read_bytes() == b"precious"
