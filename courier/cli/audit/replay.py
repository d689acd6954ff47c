"""``courier audit replay``: chosen records of an audit log are sent again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from courier.cli import EXIT_INTERRUPTED
from courier.cli.help import GroupedCommand
from courier.cli.options import file_option, option, read_config, shared_options
from courier.config.config import DEFAULTS, Config
from courier.config.option import DAY
from courier.config.recipient import origin_of
from courier.config.units import PATH, or_off, seconds
from courier.errors import EXIT_CANNOT_START, EXIT_DRAINED, ConfigError
from courier.log import setup as logging
from courier.process.collection import no_collection
from courier.replay.answered import read_answered
from courier.replay.candidate import Candidate, shown
from courier.replay.chosen_ids import read_ids
from courier.replay.id_set import IdSet
from courier.replay.report import SAMPLES, Sample, plan, result
from courier.replay.run_file import Run, new_run_id, read_run
from courier.replay.selection import Selection, Tally
from courier.replay.settings import OWN_DEFAULTS, replay_options, replay_values
from courier.replay.verdict import Ending

EXIT_FAILED: Final = 1

_EXIT_CODES: Final = {Ending.STOPPED: EXIT_INTERRUPTED, Ending.FINISHED: EXIT_DRAINED, Ending.GAVE_UP: EXIT_FAILED}


@click.command(
    "replay",
    cls=GroupedCommand,
    params=[
        click.Argument(["directory"], type=click.Path(path_type=Path), required=False),
        click.Option(["--yes"], is_flag=True, help="Send. Without it, only count and show samples."),
        option("--ids", "ids", PATH, None, "File of the message ids to send again, one a line."),
        option("--replay-audit", "replay_audit", PATH, None, "New directory of the replay's own records."),
        option("--resume", "resume", PATH, None, "Directory of a replay to go on with."),
        option(
            "--give-up-after",
            "give_up_after",
            or_off(seconds(0.1, DAY)),
            60.0,
            "Time without a success after which the last messages are given up, once all others were sent.",
        ),
        *shared_options("audit_path"),
        *shared_options(*replay_options(), defaults={**DEFAULTS, **OWN_DEFAULTS}),
        file_option(),
    ],
)
def command(
    directory: Path | None,
    yes: bool,
    ids: Path | None,
    replay_audit: Path | None,
    resume: Path | None,
    give_up_after: float | None,
    audit_path: Path,
    **values: Any,
) -> int:
    """Send records of the audit log in DIRECTORY (default: --audit-path) again, to --recipient-url.

    Each message is sent once, whatever the number of its records, in the order of the log; the messages of a group one
    after another. Requests are those of run, with the header Courier-Replay. Without --yes nothing is sent. Exit codes:
    0 all sent, 1 some failed, 2 wrong usage, 3 cannot read or start, 130 interrupted.
    """
    source = audit_path if directory is None else directory
    if resume is not None and replay_audit is not None:
        raise ConfigError("--replay-audit: must be left out with --resume, which names the directory")
    before = None if resume is None else read_run(resume)
    run_id = new_run_id() if before is None else before.run_id
    own = resume or replay_audit or Path(f"replay-{run_id}")
    config, _ = read_config(values, lambda values, given: replay_values(values, given, run_id, own))
    filters: dict[str, object] = {"ids": None if ids is None else str(ids)}
    run = Run(run_id, str(source.absolute()), filters, Selection(source).find_end(), origin_of(config.recipient))
    if before is not None:
        _check_same(before, run)
        run = before
    chosen = None if ids is None else read_ids(ids)
    selection = Selection(source, end=run.end)
    if chosen is not None:
        selection = replace(selection, wanted=chosen)
    logging.configure(config.log_level, config.log_format)
    logging.catch_the_rest()
    answered = read_answered(own) if before is not None else None
    tally, samples = _count(selection, answered.delivered if answered is not None else IdSet())
    for line in plan(tally, samples, str(source), origin_of(config.recipient)):
        click.echo(line)
    if not yes:
        click.echo("nothing was sent; add --yes to send")
        return EXIT_DRAINED
    if before is None:
        run.write(own)
    click.echo(f"replay {run_id}, with its records in {own}")
    return _send(config, selection, tally, own, give_up_after)


def _check_same(before: Run, now: Run) -> None:
    """Raise ConfigError if this command chooses other records than the one before, or sends them elsewhere."""
    for option_name, then, given in (
        ("DIRECTORY", before.source, now.source),
        *((f"--{name.replace('_', '-')}", before.filters.get(name), value) for name, value in now.filters.items()),
        ("--recipient-url", before.recipient, now.recipient),
    ):
        if then != given:
            raise ConfigError(f"--resume: that replay had {option_name} {then or 'not given'}; repeat its command")


def _count(selection: Selection, done: IdSet) -> tuple[Tally, list[Sample]]:
    tally, samples = Tally(), list[Sample]()
    for each in selection.candidates(done, tally):
        if each is not None and isinstance(each[1], Candidate) and len(samples) < SAMPLES:
            samples.append(Sample(each[1], shown(each[0].raw, each[0].segment.form)))
    return tally, samples


def _send(config: Config, selection: Selection, tally: Tally, own: Path, give_up_after: float | None) -> int:
    # Imported here, because it imports everything that a worker needs.
    with no_collection():
        from courier.process.short_lived_child import Interrupted
        from courier.replay.pipeline import Replay, run

    try:
        ending = run(config, Replay(selection, tally.sendable, bool(tally.grouped), give_up_after))
    except Interrupted:
        ending = Ending.STOPPED
    answered = read_answered(own)
    failed = list(answered.failed.values())
    left = max(0, tally.sendable + tally.done - len(answered.delivered) - len(failed))
    for line in result(len(answered.delivered), failed, left, ending):
        click.echo(line)
    code = _EXIT_CODES.get(ending, EXIT_CANNOT_START)
    if code == EXIT_DRAINED and (failed or left or tally.unsendable):
        code = EXIT_FAILED
    if failed or left:
        click.echo(f"to go on: repeat the command with --resume {own}")
    return code
