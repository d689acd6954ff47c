"""The manual pages, made from the commands and their options: ``courier.1``, and one for each command or group."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import click

import courier
from courier import cli
from courier.cli.help import describe, grouped
from courier.config.config import OPTIONS

SECTION: Final = 1
_SENTENCE_END: Final = re.compile(r"(?<=[.:;]) (?=[A-Z])")
_CODE: Final = re.compile(r"`([^`]+)`")
_FLAG: Final = re.compile(r"\\-\\-[a-z]+(?:\\-[a-z]+)*")

FILES: Final = (
    ("/etc/courier/courier.toml", "The options of the service, where a package or a unit of systemd is used."),
    ("audit/", "The audit log, unless --audit-path names another directory."),
)
EXIT_STATUS: Final = (
    ("0", "Drained: nothing was left unfinished."),
    (
        "2",
        "Wrong usage or configuration. One line on standard error says which option is wrong, and what would be right.",
    ),
    ("3", "Cannot start. One line says why, and how to fix it."),
    ("4", "Stopped with messages unfinished after the drain timeout. SQS shows them again."),
)
SIGNALS: Final = (
    (
        "SIGTERM, SIGINT",
        "Drain: stop receiving, finish the deliveries in flight, record, delete, end. A second signal stops at once.",
    ),
    ("SIGTTIN, SIGTTOU", "Add a sender, remove a sender."),
    ("SIGUSR1", "Begin a new audit file."),
    ("SIGHUP", "Read the file of --config again."),
    ("SIGUSR2", "Log the stacks of every process."),
)


def manual_pages(date: str) -> dict[str, str]:
    """Return the pages by the names of their files. ``date``, as 2026-11-26, stands at the foot of each."""
    pages = {"courier.1": _program(date)}
    with click.Context(cli.courier, info_name=cli.PROGRAM, **cli.courier.context_settings) as context:
        for name, described in cli.COMMANDS.items():
            command = cli.courier.get_command(context, name)
            assert command is not None
            pages[f"courier-{name}.1"] = "".join(_page(context, command, name, described.help, date))
    return pages


def _program(date: str) -> str:
    with click.Context(cli.courier, info_name=cli.PROGRAM, **cli.courier.context_settings) as context:
        run = cli.courier.get_command(context, "run")
        assert run is not None
        parts = [
            *_head("courier", "deliver Amazon SQS messages to an HTTP recipient", date),
            ".SH SYNOPSIS\n.B courier\n[options]\n.br\n.B courier\ncommand [options]\n",
            ".SH DESCRIPTION\n",
            _text(
                "Courier takes messages from an Amazon SQS queue and delivers each one to an HTTP recipient. A message "
                "is deleted from the queue only after the recipient answered with success and a record of the delivery "
                "is durable. Each message is delivered at least once."
            ),
            ".PP\n" + _text("Without a command, `courier run` is meant. `courier help OPTION` explains an option."),
            ".SH COMMANDS\n",
            *(_term(f"courier {name}", described.help) for name, described in cli.COMMANDS.items()),
            ".SH OPTIONS\n",
            _text("These are the options of `courier run`; courier-run(1) describes them."),
            *(
                f".SS {_escaped(group)}\n{_text(', '.join(describe(each).flag for each in members))}"
                for group, members in grouped(run.params).items()
                if members
            ),
            ".SH ENVIRONMENT\n",
            _text(
                "Each option of `courier run` has a variable, which counts if the option isn't given: "
                "COURIER_RECIPIENT_URL is --recipient-url. Credentials and region come from the variables and files "
                "that the AWS SDKs read."
            ),
            ".SH FILES\n",
            *(_term(name, text) for name, text in FILES),
            ".SH SIGNALS\n",
            *(_term(name, text) for name, text in SIGNALS),
            ".SH EXIT STATUS\n",
            *(_term(name, text) for name, text in EXIT_STATUS),
            _see_also([f"courier-{name}" for name in cli.COMMANDS]),
        ]
    return "".join(parts)


def _page(parent: click.Context, command: click.Command, name: str, summary: str, date: str) -> Iterator[str]:
    yield from _head(f"courier-{name}", summary[:1].lower() + summary[1:].rstrip("."), date)
    with click.Context(command, info_name=name, parent=parent, **command.context_settings) as context:
        below = _below(command, context)
        yield ".SH SYNOPSIS\n"
        synopses = [_synopsis(each, path) for path, each in below] or [_synopsis(command, f"courier {name}")]
        yield ".br\n".join(synopses)
        yield ".SH DESCRIPTION\n"
        yield _help(command)
        if not below:
            yield from (".SH OPTIONS\n", *_options(command, ".SS"))
        for path, each in below:
            yield from (f".SH {_escaped(path.upper())}\n", _help(each), *_options(each, ""))
    yield from _exit_status(command, [each for _, each in below])
    yield _see_also(["courier", *(["courier-run"] if name != "run" else [])])


def _below(command: click.Command, context: click.Context) -> list[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        return []
    found = ((name, command.get_command(context, name)) for name in command.list_commands(context))
    return [(f"{context.command_path} {name}", each) for name, each in found if each is not None]


def _head(name: str, summary: str, date: str) -> Iterator[str]:
    yield f'.TH {_escaped(name.upper())} {SECTION} "{date}" "courier {courier.__version__}" "Courier"' + "\n"
    yield f".SH NAME\n{_escaped(name)} " + rf"\- {_escaped(summary)}" + "\n"


def _synopsis(command: click.Command, path: str) -> str:
    with click.Context(command) as context:
        arguments = [each.make_metavar(context) for each in command.params if isinstance(each, click.Argument)]
    return f".B {_escaped(path)}\n{' '.join(map(_escaped, ('[options]', *arguments)))}\n"


def _help(command: click.Command) -> str:
    return ".PP\n".join(map(_text, (command.help or "").split("\n\n")))


def _options(command: click.Command, group_title: str) -> Iterator[str]:
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    groups = [(group, members) for group, members in grouped(options).items() if members]
    for group, members in groups:
        if group_title and len(groups) > 1:
            yield f"{group_title} {_escaped(group)}\n"
        yield from map(_option, members)


def _option(parameter: click.Parameter) -> str:
    assert isinstance(parameter, click.Option)
    text = describe(parameter)
    with click.Context(click.Command(cli.PROGRAM)) as context:
        metavar = "" if parameter.is_flag else f" {parameter.make_metavar(context)}"
    facts = (
        [] if parameter.is_flag else [f"Takes {text.takes}.", *([f"Default: {text.default}."] if text.default else [])]
    )
    facts += [f"Variable: {', '.join(text.variables)}."] if text.variables else []
    known = OPTIONS.get(parameter.name or "")
    facts += [f"Key: {known.key}."] if known is not None and known.flag in parameter.opts else []
    names = _escaped(", ".join((*parameter.opts, *parameter.secondary_opts)))
    more = f".br\n{_text(' '.join(facts))}" if facts else ""
    return ".TP\n" + rf"\fB{names}\fR\fI{_escaped(metavar)}\fR" + "\n" + _text(text.text) + more


def _exit_status(command: click.Command, below: Sequence[click.Command]) -> Iterator[str]:
    """Return the section of the exit codes, unless the text of the page has them."""
    if command.name == "run":
        yield from (".SH EXIT STATUS\n", *(_term(code, text) for code, text in EXIT_STATUS))
    elif not any("exit code" in (each.help or "").lower() for each in (command, *below)):
        yield from (".SH EXIT STATUS\n", _term("0", "Done."), *(_term(code, text) for code, text in EXIT_STATUS[1:3]))


def _see_also(names: Sequence[str]) -> str:
    entries = [f".BR {_escaped(name)} ({SECTION})" for name in names]
    return ".SH SEE ALSO\n" + "".join(f"{entry}{',' if entry != entries[-1] else ''}\n" for entry in entries)


def _term(name: str, text: str) -> str:
    return f".TP\n.B {_escaped(name)}\n{_text(text)}"


def _text(text: str) -> str:
    """Return Markdown's text as lines of roff, a sentence each, with options in bold."""
    lines = _SENTENCE_END.split(_CODE.sub(r"\1", " ".join(text.split())))
    return "".join(f"{_FLAG.sub(_bold, _escaped(line))}\n" for line in lines)


def _bold(flag: re.Match[str]) -> str:
    return rf"\fB{flag[0]}\fR"


def _escaped(text: str) -> str:
    """Return text that roff prints as it is. A hyphen stays one that can be copied into a shell."""
    text = (
        text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq").replace("~", r"\(ti").replace("^", r"\(ha")
    )
    return rf"\&{text}" if text.startswith((".", "'")) else text
