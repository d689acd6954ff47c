"""``python -m scripts.bench COMMAND``: the cost of Courier, and that of other programs for the same work."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Final

from scripts.bench import comparison, plot, programs
from scripts.bench import profile as profiling
from scripts.bench.document import update, update_line
from scripts.bench.rig import Rig
from scripts.bench.scenario import Scenario
from scripts.bench.scenarios import bodies, distance, growth, idle, latency, processes, slots, steady, tls
from scripts.bench.servers import set_aws_environment

SCENARIOS: Final[dict[str, Scenario]] = {
    "latency": latency,
    "slots": slots,
    "bodies": bodies,
    "growth": growth,
    "processes": processes,
    "tls": tls,
    "distance": distance,
    "idle": idle,
    "steady": steady,
}
PAGE: Final = Path("docs/performance.md")
README: Final = Path("README.md")
OUTPUT: Final = Path("build/bench")


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench", description="Measure Courier.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run(commands)
    _add_profile(commands)
    _add_document(commands)
    for name, scenario in SCENARIOS.items():
        parser_of_it = commands.add_parser(name, help=scenario.HELP)
        parser_of_it.add_argument("--output", type=_absolute, default=OUTPUT.absolute())
        scenario.add_options(parser_of_it)
        parser_of_it.set_defaults(function=_run_scenario)
    given = parser.parse_args()
    # Every exit must stop the programs that were started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    set_aws_environment()
    given.function(given)


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser("run", help="compare Courier with its peers")
    run.add_argument("--messages", type=int, default=100_000, help="for each program and round; slow ones get a share")
    run.add_argument("--bytes", type=int, default=220, help="length of a body")
    run.add_argument("--rounds", type=int, default=5)
    run.add_argument("--endpoint-url", help="an SQS API other than the virtual queue")
    run.add_argument("--recipient", choices=("auto", "nginx", "own"), default="auto")
    run.add_argument("--peer", action="append", default=[], metavar="NAME='COMMAND'", help="one more program")
    run.add_argument("--python", action="append", default=[], help="an interpreter to run Courier on too")
    run.add_argument("--peer-only", action="append", default=[], metavar="NAME", help="run only these")
    run.add_argument("--output", type=_absolute, default=OUTPUT.absolute())
    run.add_argument("courier_options", nargs="*", help="options of courier, behind --")
    run.set_defaults(function=_run)


def _absolute(text: str) -> Path:
    return Path(text).absolute()


def _run(given: argparse.Namespace) -> None:
    chosen = [programs.courier(*given.courier_options), programs.by_hand()]
    chosen += [programs.courier_on(python, *given.courier_options) for python in given.python]
    wanted = given.peer_only
    node = programs.node(given.output / "node") if not wanted or programs.NODE in wanted else None
    chosen += [node] if node else []
    chosen += [programs.given(text) for text in given.peer]
    chosen = [program for program in chosen if not wanted or program.name.partition(" on ")[0] in wanted]
    setting = comparison.Setting(
        given.messages, given.bytes, given.rounds, given.endpoint_url, given.recipient, given.output
    )
    trials = comparison.compare(chosen, setting)
    table = comparison.summary(trials)
    parts = [comparison.render(table)]
    if programs.COURIER in trials:
        ours = trials[programs.COURIER]
        parts += [comparison.render_roles(ours), comparison.render_servers(ours)]
    shown = "\n\n".join(parts)
    print(shown)
    line = comparison.last_line(table) if programs.COURIER in trials else ""
    machine = comparison.machine()
    document = {"machine": machine, "setting": setting, "line": line, "table": shown}
    comparison.write_json(given.output / "run.json", {**document, "summary": table, "trials": trials})
    caption = f"{machine['cores']} cores of {machine['processor']}, bodies of {given.bytes} bytes; median and range"
    plot.draw(table, f"{caption} of {given.rounds} rounds", given.output / "run.png")
    print(line)
    if any(trial.faults for those in trials.values() for trial in those):
        sys.exit(1)


def _add_profile(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    profile = commands.add_parser("profile", help="show where Courier's microseconds go")
    profile.add_argument("--messages", type=int, default=100_000)
    profile.add_argument("--bytes", type=int, default=220, help="length of a body")
    profile.add_argument("--latency-ms", type=float, default=0.0, help="of each call to the queue")
    profile.add_argument("--recipient", choices=("auto", "nginx", "own"), default="auto")
    profile.add_argument("--output", type=_absolute, default=OUTPUT.absolute())
    profile.add_argument("courier_options", nargs="*", help="options of courier, behind --")
    profile.set_defaults(function=_profile)


def _profile(given: argparse.Namespace) -> None:
    workload = profiling.Workload(given.messages, given.bytes, given.recipient, tuple(given.courier_options))
    with Rig(given.output, latency_ms=given.latency_ms) as rig:
        result = profiling.profile(workload, rig)
    print(profiling.render(result))
    print(profiling.render_lines(result))
    document = {"machine": comparison.machine(), "workload": workload, "table": profiling.tables(result)}
    comparison.write_json(given.output / "profile.json", {**document, **result._asdict()})


def _add_document(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    document = commands.add_parser("document", help="put the newest figures into docs/performance.md and README")
    document.add_argument("--output", type=_absolute, default=OUTPUT.absolute(), help="where the results are")
    document.add_argument("--page", type=_absolute, default=PAGE.absolute())
    document.add_argument("--readme", type=_absolute, default=README.absolute())
    document.set_defaults(function=_write_document)


def _write_document(given: argparse.Namespace) -> None:
    update(given.page, given.output)
    update_line(given.readme, given.output)


def _run_scenario(given: argparse.Namespace) -> None:
    outcome = SCENARIOS[given.command].run(given)
    print(outcome.table)
    document = {"machine": comparison.machine(), "line": outcome.line, "table": outcome.table}
    comparison.write_json(given.output / f"{given.command}.json", {**document, "figures": outcome.figures})
    print(outcome.line)


if __name__ == "__main__":
    main()
