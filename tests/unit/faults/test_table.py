"""The table of the faults, its records, and the pages that show it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.faults import table
from scripts.faults.__main__ import PAGE, README, main
from scripts.faults.catalogue import ROWS
from scripts.faults.catalogue.quick import COMPARED, QUICK
from scripts.faults.events import Sent
from scripts.faults.fault import Fault, Limits, Row
from scripts.faults.injectors import INJECTORS
from scripts.faults.oracle import Seen, judge
from scripts.faults.record import Record, load
from scripts.faults.trial import Result
from scripts.faults.workload import Workload

ROOT = Path(__file__).parents[3]
FACTS = {"full": False, "seed": 0}
HELD = Record(
    "kill",
    "SIGKILL",
    "courier",
    "1,000 at 50/s",
    times=25,
    sent=1000,
    duplicates=3,
    stall=0.46,
    receives=1.003,
    most_receives=2,
)
FAILED = replace(HELD, name="stop", title="SIGSTOP", lost=2, failures=("2 lost: a, b",))
PEER = replace(HELD, program="by-hand", unrecorded=None, unexplained=7, failures=("7 duplicates",))


def row(**changes: object) -> Row:
    return replace(Row("name", "title", Workload(1200, rate=60.0), ()), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (row(), "1,200 at 60/s"),
        (row(workload=Workload(10)), "10 at once"),
        (row(workload=Workload(10, groups=1)), "10 at once, FIFO, 1 group"),
        (row(workload=Workload(10, 5.0, groups=7, sizes="large")), "10 at 5/s, 1 MiB, FIFO, 7 groups"),
        (row(workload=Workload(10, 5.0, sizes="mixed")), "10 at 5/s, 1 B to 64 KiB, some 1 MiB"),
        (row(workload=Workload(10, 5.0, sizes=(1, 2048))), "10 at 5/s, 1 B to 2 KiB"),
        (row(workload=Workload(10, 5.0, sizes=(9, 9)), server="fauxqs", tls=True), "10 at 5/s, 9 B, on fauxqs, TLS"),
        (row(programs=3), "1,200 at 60/s, 3 at once"),
        (row(struck=row()), "1,200 at 60/s, beside another queue"),
    ],
)
def test_a_load_in_a_few_words(given: Row, text: str) -> None:
    assert load(given) == text


def test_a_record_has_the_figures_of_its_verdict_and_survives_its_file(tmp_path: Path) -> None:
    sent = [Sent(0.0, "a", "", b""), Sent(0.0, "b", "", b"")]
    verdict = judge(Seen(sent, [], [], [], set(), left={"a": b""}))
    result = Result(row(workload=Workload(2, seed=9)), "courier", verdict, verdict.failures(Limits()), 3, 12.34)
    record = Record.of(result, audits=True)
    assert (record.name, record.program, record.seed, record.times, record.seconds) == ("name", "courier", 9, 3, 12.3)
    assert (record.sent, record.lost, record.unrecorded, record.held) == (2, 1, 0, False)
    assert record.failures == ("1 lost: b", "1 still in the queue: a")
    assert Record.of(result, audits=False).unrecorded is None
    record.write(tmp_path / "result.json")
    assert Record.read(tmp_path / "result.json") == record


def test_a_stall_that_fails_nothing_is_still_called_slow() -> None:
    verdict = replace(judge(Seen([], [], [], [], set())), stall=3.0)
    record = Record.of(Result(row(), "courier", verdict, [], 1, 1.0), audits=True)
    assert record.held
    assert record.slow
    assert "stall 3.0 s, above its limit" in record.line()


def test_the_table_has_a_line_for_each_trial_and_marks_what_failed() -> None:
    lines = table.table([HELD, FAILED]).splitlines()
    assert lines[0] == f"| {' | '.join(table.COLUMNS)} |"
    assert lines[2] == "| SIGKILL | 1,000 at 50/s | 25 | 0 | 0 | 0 | 3 | 0.5 s | 1.00, at most 2 |"
    assert lines[3].startswith("| **SIGSTOP: failed** | 1,000 at 50/s | 25 | 2 |")


def test_a_trial_that_did_not_run_has_no_figures() -> None:
    record = Record.of_failure(row(), "courier", "it did not start")
    assert not record.held
    assert table.table([record]).splitlines()[2].count("–") == 7


def test_peers_stand_beside_in_the_rows_that_they_ran() -> None:
    lines = table.peers_table([HELD, PEER, FAILED]).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| SIGKILL | courier | 25 | 0 | 0 |")
    assert lines[3].startswith("|  | by-hand | 25 | 0 | – | 0 | 3 (7 unexplained) |")


def test_a_peer_counts_in_no_summary() -> None:
    assert table.summary([HELD, PEER]) == "1 of 1 held"
    assert table.summary([HELD, FAILED]) == "1 of 2 held"


def test_the_headline_sums_the_table_up() -> None:
    assert table.headline([HELD, PEER]) == (
        "the promise held in 1 of 1 trials, from killed processes to power cuts: "
        "of 1,000 messages, none lost, none unrecorded, none out of order"
    )
    assert "held in 1 of 2 trials" in table.headline([HELD, FAILED])
    assert "of 2,000 messages, 2 lost" in table.headline([HELD, FAILED])


def test_the_newest_results_take_the_place_of_those_on_the_pages(tmp_path: Path) -> None:
    page, readme = tmp_path / "faults.md", tmp_path / "README.md"
    page.write_text("<!-- results -->\nold\n<!-- end -->\n<!-- peers -->\nold\n<!-- end -->\n")
    readme.write_text("- Tested.\n  <!-- faults -->\n  old\n  <!-- end -->\nafter\n")
    table.write(tmp_path, [HELD, PEER], FACTS)
    table.update(page, readme, tmp_path)
    assert table.table([HELD]) in page.read_text()
    assert table.peers_table([HELD, PEER]) in page.read_text()
    assert "old" not in page.read_text()
    assert readme.read_text() == (f"- Tested.\n  <!-- faults -->\n  {table.headline([HELD])}\n  <!-- end -->\nafter\n")


def test_a_soak_shows_its_totals_and_what_grew() -> None:
    totals = {"sent": 7_200_000, "lost": 0, "duplicates": 12, "explained": {"kill": 12}}
    lines = table.soak_table("an hour", totals, {"rss": 0.123, "cpu_per_message": -1.0}).splitlines()
    assert lines[0] == "| soak | sent | lost | duplicates | rss in 10 minutes | cpu per message in 10 minutes |"
    assert lines[2] == "| an hour | 7,200,000 | 0 | 12 | +0.12 % | -1.00 % |"


def test_the_results_of_a_few_rows_pass_for_no_table(tmp_path: Path) -> None:
    table.write(tmp_path, [HELD], FACTS, whole=False)
    assert [path.name for path in tmp_path.iterdir()] == ["some.json"]
    written = json.loads((tmp_path / "some.json").read_text())
    assert [Record.parse(values) for values in written["records"]] == [HELD]


def test_the_pages_of_this_project_have_a_place_for_the_results() -> None:
    text = (ROOT / PAGE).read_text()
    for name in ("results", "peers", "soak"):
        assert text.count(f"<!-- {name} -->\n") == 1, name
    readme = (ROOT / README).read_text()
    assert readme.count("<!-- faults -->\n") == 1
    assert "](docs/faults.md)" in readme.partition("## Try it")[0]


def test_each_row_has_a_name_of_its_own_and_faults_that_exist() -> None:
    names = [each.name for each in (*ROWS, *QUICK)]
    assert len(names) == len(set(names))
    for each in (*ROWS, *QUICK, *filter(None, (each.full for each in ROWS))):
        assert each.all_faults or each.answer_seconds, each.name
        assert {fault.what for fault in each.all_faults} <= INJECTORS.keys(), each.name
    assert all(each.full is None or each.full.name == each.name for each in ROWS)


def test_peers_run_rows_of_the_table_whose_faults_hurt_any_program() -> None:
    known = {each.name: each for each in ROWS}
    for name in COMPARED:
        each = known[name]
        assert (each.audit, each.programs, each.failure_queue) == ("files", 1, False), name


def test_the_quick_rows_kill_each_role_and_need_nothing_but_a_compiler() -> None:
    faults = [fault for each in QUICK for fault in each.faults]
    assert {fault.whom for fault in faults if fault.what == "kill"} >= {"sender", "consumer", "auditor", "supervisor"}
    assert all(each.server == "courier" for each in QUICK)


def test_a_name_that_is_no_row_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--only", "no-such-row"])
    assert "kill-idle-sender" in capsys.readouterr().err


def test_the_names_of_the_rows_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [each.name for each in ROWS]


def test_a_fault_has_a_seed_of_its_own_under_each_seed() -> None:
    seeded = row(faults=(Fault("kill", seed=1),)).seeded(7)
    assert (seeded.workload.seed, seeded.faults[0].seed) == (7, 8)
    beside = row(struck=row(faults=(Fault("kill", seed=1),))).seeded(7)
    assert [fault.seed for fault in beside.all_faults] == [8]
