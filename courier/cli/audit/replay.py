"""``courier audit replay``: chosen records of an audit log are sent again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from courier.audit.filter import Filter
from courier.cli import EXIT_INTERRUPTED
from courier.cli.audit.filters import filter_of, filter_options
from courier.cli.audit.output import require_audit_files
from courier.cli.help import GroupedCommand
from courier.cli.options import file_option, option, queue_tables, read_config, shared_options
from courier.cli.queues import chosen_table
from courier.config.checks import check_queue_name
from courier.config.config import DEFAULTS, Config
from courier.config.option import DAY
from courier.config.queues import own_values
from courier.config.recipient import origin_of
from courier.config.units import PATH, TEXT, or_off, seconds
from courier.errors import EXIT_CANNOT_START, EXIT_DRAINED, ConfigError, require_linux
from courier.log import setup as logging
from courier.process.collection import no_collection
from courier.replay.answered import Answered, read_answered
from courier.replay.candidate import OUTCOMES, Candidate
from courier.replay.chosen_ids import read_ids
from courier.replay.id_set import IdSet
from courier.replay.report import LISTED, SAMPLES, plan, result, sample
from courier.replay.run_file import Run, new_run_id, read_run
from courier.replay.selection import Selection, Tally
from courier.replay.settings import OWN_DEFAULTS, left_out, replay_options, replay_values
from courier.replay.verdict import Ending

if TYPE_CHECKING:
    from courier.replay.pipeline import Replay

EXIT_FAILED: Final = 1

_EXIT_CODES: Final = {
    Ending.STOPPED: EXIT_INTERRUPTED,
    Ending.FINISHED: EXIT_DRAINED,
    Ending.GAVE_UP: EXIT_FAILED,
}

_FILTERS: Final = {str(each.name): each.opts[0] for each in filter_options()}
"""The flags of the options that choose records, by the names of their values."""


def parameters() -> list[click.Parameter]:
    """Return the options of the command: its own, those that choose records, and those of the recipient."""
    return [
        click.Argument(["directory"], metavar="[DIR]", type=click.Path(path_type=Path), required=False),
        click.Option(["--yes"], is_flag=True, help="Send. Without it, only count and show samples."),
        option("--ids", "ids_file", PATH, None, "File of the message ids to send again, one a line."),
        *filter_options(),
        option("--to-queue", "to_queue", TEXT, "", "Send to this SQS queue (name or URL) and not to a recipient."),
        option("--replay-audit", "replay_audit", PATH, None, "New directory of the replay's own records."),
        option("--resume", "resume", PATH, None, "Directory of a replay to go on with."),
        option(
            "--give-up-after",
            "give_up_after",
            or_off(seconds(0.1, DAY)),
            120.0,
            "Time without a success after which the last messages are given up, once all others were sent.",
        ),
        *shared_options("audit_path"),
        *shared_options(*replay_options(), defaults={**DEFAULTS, **OWN_DEFAULTS}),
        file_option(),
    ]


@click.command("replay", cls=GroupedCommand, params=parameters())
def command(
    directory: Path | None,
    yes: bool,
    ids_file: Path | None,
    to_queue: str,
    replay_audit: Path | None,
    resume: Path | None,
    give_up_after: float | None,
    audit_path: Path,
    **values: Any,
) -> int:
    """Send chosen records of the audit log in DIR (default: --audit-path) again, to --recipient-url or --to-queue.

    Each message is sent once, whatever the number of its records, in the order of the log; the messages of a group one
    after another. Requests are those of run, with the header Courier-Replay. Without --yes nothing is sent. Exit codes:
    0 all sent, 1 some failed, 2 wrong usage, 3 cannot read or start, 130 interrupted.
    """
    source = _source(audit_path, values) if directory is None else directory
    require_audit_files(source)
    if resume is not None and replay_audit is not None:
        raise ConfigError("--replay-audit: must be left out with --resume, which names the directory")
    before = None if resume is None else read_run(resume)
    run_id = new_run_id() if before is None else before.run_id
    own = resume or replay_audit or Path(f"replay-{run_id}")
    chosen = {name: values.pop(name) for name in _FILTERS}
    wanted = filter_of(chosen)
    if to_queue:
        check_queue_name("--to-queue", to_queue)

    def replayed(values: dict[str, Any], given: set[str]) -> dict[str, Any]:
        return replay_values(values, given, run_id, own, into_queue=bool(to_queue))

    config, _ = read_config({**values, "audit_path": audit_path, "audit_archive": None}, replayed)
    target = f"the queue {to_queue}" if to_queue else origin_of(config.recipient)
    logging.configure(config.log_level, config.log_format)
    logging.catch_the_rest()
    run = before or Run(
        run_id, *_identity(source, chosen, ids_file), wanted.since, wanted.until, Selection(source).find_end(), ""
    )
    run = replace(run, recipient=run.recipient or target)
    _check_same(run, source, chosen, ids_file, target)
    selection = _selection(source, wanted, run, ids_file)
    answered = Answered(IdSet(), {}) if before is None else read_answered(own)
    tally, samples = _count(selection, answered.delivered)
    gone = max(0, run.messages - tally.sendable - tally.done)
    for line in (*plan(tally, samples, str(source), target, gone), *([] if to_queue else left_out(config))):
        click.echo(line)
    if not yes:
        click.echo("nothing was sent; add --yes to send" if tally.sendable else "there is nothing to send")
        return EXIT_DRAINED
    if not tally.sendable:
        click.echo("nothing is left to send")
        return EXIT_FAILED if tally.unsendable or run.messages > tally.done else EXIT_DRAINED
    if before is None:
        run = replace(run, messages=tally.sendable)
        run.write(own)
    click.echo(f"replay {run_id}, with its records in {own}")
    with no_collection():
        # Imported here, because it imports everything that a worker needs.
        from courier.replay.pipeline import Replay

    replay = Replay(run_id, selection, tally.sendable, bool(tally.grouped), give_up_after, to_queue)
    return _send(config, replay, own, len(answered.delivered), may_be_all=not (tally.unsendable or gone))


def _source(audit_path: Path, values: Mapping[str, Any]) -> Path:
    """Return the directory of --audit-path; with [[queue]] tables, that of the one which --queue names."""
    context = click.get_current_context()
    tables = queue_tables(context)
    if not tables or context.get_parameter_source("audit_path") is ParameterSource.COMMANDLINE:
        return audit_path
    table = chosen_table(context, values, tables)
    own: Path = own_values(table, {"audit_path": audit_path, "audit_archive": None})["audit_path"]
    return own


def _selection(source: Path, wanted: Filter, run: Run, ids_file: Path | None) -> Selection:
    """Return what a replay sends. A time like 2h means what it meant when the replay began."""
    wanted = replace(wanted, since=run.since, until=run.until, outcomes=frozenset())
    ids = None if ids_file is None else read_ids(ids_file)
    outcomes = frozenset(str(each).lower().strip() for each in run.filters.get("--outcome", [])) or OUTCOMES
    return Selection(source, wanted, outcomes, ids, run.end)


def _identity(source: Path, chosen: Mapping[str, Any], ids_file: Path | None) -> tuple[str, dict[str, list[str]]]:
    """Return what must be the same when a replay goes on: the directory, and the options that choose, as given."""
    given: dict[str, list[str]] = {}
    for name, value in chosen.items():
        if value:
            given[_FILTERS[name]] = sorted(value) if isinstance(value, tuple) else [str(value)]
    if ids_file is not None:
        given["--ids"] = [str(ids_file)]
    return str(source.absolute()), given


def _check_same(run: Run, source: Path, chosen: Mapping[str, Any], ids_file: Path | None, target: str) -> None:
    """Raise ConfigError if this command chooses other records than that of the replay, or sends them elsewhere."""
    where, given = _identity(source, chosen, ids_file)
    flags = sorted({*run.filters, *given})
    for flag, then, now in (
        ("DIR", [run.source], [where]),
        ("--recipient-url or --to-queue", [run.recipient], [target]),
        *((flag, run.filters.get(flag, []), given.get(flag, [])) for flag in flags),
    ):
        if then != now:
            was = f"was given as {' '.join(then)}" if then else "was not given"
            raise ConfigError(f"--resume: {flag} {was} when the replay began; repeat its command")


def _count(selection: Selection, done: IdSet) -> tuple[Tally, list[str]]:
    """Return what would be sent: the counts, and samples as lines."""
    tally, samples = Tally(), list[str]()
    for each in selection.candidates(done, tally):
        if each is not None and isinstance(each[1], Candidate) and len(samples) < SAMPLES:
            samples.append(sample(each[0].fields, each[1]))
    return tally, samples


def _send(config: Config, replay: Replay, own: Path, before: int, *, may_be_all: bool) -> int:
    """Send, and say what came of it. ``before`` is how many were sent in earlier runs."""
    require_linux("courier audit replay --yes")
    from courier.process.short_lived_child import Interrupted
    from courier.replay.pipeline import run

    try:
        ending = run(config, replay)
    except Interrupted:
        ending = Ending.STOPPED
    answered = read_answered(own)
    failed = list(answered.failed.values())
    left = max(0, replay.messages - (len(answered.delivered) - before) - len(failed))
    given_up = _left(replay.selection, answered) if ending is Ending.GAVE_UP else []
    for line in result(len(answered.delivered), failed, left, ending, given_up):
        click.echo(line)
    code = _EXIT_CODES.get(ending, EXIT_CANNOT_START)
    if code == EXIT_DRAINED and (failed or left or not may_be_all):
        code = EXIT_FAILED
    if failed or left:
        click.echo(f"to go on: repeat the command with --resume {own}")
    return code


def _left(selection: Selection, answered: Answered) -> list[str]:
    """Return the ids of some messages that were given up."""
    ids: list[str] = []
    for each in selection.candidates(answered.delivered, Tally()):
        if each is not None and isinstance(each[1], Candidate) and each[1].message_id not in answered.failed:
            ids.append(each[1].message_id)
            if len(ids) == LISTED:
                break
    return ids
