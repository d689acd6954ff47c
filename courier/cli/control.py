"""The commands that steer a running Courier over its control socket."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from courier.cli.options import ClickType, option
from courier.config.config import OPTIONS
from courier.config.loading import runtime_directory
from courier.config.option import DAY
from courier.config.units import PATH, TEXT, number, one_of, seconds
from courier.log.stderr import write_last_line

EXIT_DONE: Final = 0
EXIT_REFUSED: Final = 1
EXIT_UNREACHABLE: Final = 3
"""The exit codes; 2 is wrong usage, as everywhere."""

LOOK_SECONDS: Final = 0.1
"""Seconds between two looks at a reload."""

EPILOG: Final = "Exit codes: 0 done, 1 refused (one line says why), 2 wrong usage, 3 no Courier answers."

JSON: Final = "json"


def control_option() -> click.Option:
    """Return the option that says where the socket of the running Courier is."""
    variables = OPTIONS["control"].variables
    text = "The control socket. By default control.sock in $RUNTIME_DIRECTORY, else /run/courier/control.sock."
    return option("--control", "socket", PATH, None, text, variables)


def output_option() -> click.Option:
    """Return the option for the form of the answer."""
    return click.Option(
        ["--output", "-o", "output"],
        type=ClickType(one_of("text", JSON)),
        metavar="text|json",
        default="text",
        help="Form of the answer: a line of text, or the JSON object.  [default: text]",
    )


def queue_option() -> click.Option:
    """Return the option that names one of several queues."""
    text = "One of the [[queue]] tables of the running Courier, by its name. Without it, all of them."
    return option("--queue", "queue", TEXT, None, text)


def about(queue: str | None) -> dict[str, Any]:
    """Return the field of a request that names its queue; none where it is about all."""
    return {} if queue is None else {"queue": queue}


def act(name: str, *parameters: click.Parameter) -> Callable[[Callable[..., dict[str, Any]]], click.Command]:
    """Make a command of an act. The decorated function gets its own options, and returns the fields of the request."""

    def decorate(fields: Callable[..., dict[str, Any]]) -> click.Command:
        @wraps(fields)
        def run(socket: Path | None, output: str, queue: str | None, **values: Any) -> int:
            return send({"act": name, **about(queue), **fields(**values)}, socket, output)

        params = [*parameters, queue_option(), control_option(), output_option()]
        return click.Command(name, params=params, callback=run, help=fields.__doc__, epilog=EPILOG)

    return decorate


def send(request: dict[str, Any], socket: Path | None, output: str) -> int:
    """Send a request to the running Courier, print its answer, and return the exit code."""
    return show(*answer_to(request, socket), output)


def answer_to(request: dict[str, Any], socket: Path | None) -> tuple[dict[str, Any], int]:
    """Send a request to the running Courier; return its answer and the exit code."""
    from courier.control_client import Unreachable, ask, find_socket

    try:
        answer = ask(find_socket(socket, runtime_directory()), request)
    except Unreachable as error:
        return {"ok": False, "error": str(error)}, EXIT_UNREACHABLE
    return answer, EXIT_DONE if answer.get("ok") is True else EXIT_REFUSED


def show(answer: dict[str, Any], code: int, output: str) -> int:
    """Print an answer, and return the exit code."""
    import orjson

    if output == JSON:
        click.echo(orjson.dumps(answer))
    elif code == EXIT_DONE:
        click.echo(answer.get("text", "done"))
    else:
        write_last_line(f"courier: error: {answer.get('error', 'refused')}")
    return code


def _count(flag: str, what: str) -> click.Option:
    return option(flag, flag.removeprefix("--"), number(1, 512), None, f"How many processes {what} from now on.")


@act("pause", option("--reason", "reason", TEXT, "", "Why, for the log and all who look."))
def pause(reason: str) -> dict[str, Any]:
    """Receive nothing until `courier resume`. What is under way is delivered, recorded and deleted.

    The pause outlives every worker and a reload, but not a restart of Courier. A stop isn't hindered by it.
    """
    return {"reason": reason}


@act("resume")
def resume() -> dict[str, Any]:
    """Receive again after `courier pause`."""
    return {}


@act(
    "scale",
    _count("--senders", "deliver"),
    _count("--consumers", "receive"),
    option("--route", "route", TEXT, None, "Change the senders of this route."),
)
def scale(senders: int | None, consumers: int | None, route: str | None) -> dict[str, Any]:
    """Run more or fewer senders and consumers, until the next restart.

    Those that are too many finish what they have under way. Up to 16 senders, 8 consumers and 4 senders of each route
    can be added to those of the start.
    """
    if senders is None and consumers is None:
        raise click.UsageError("give --senders, --consumers or both")
    return {"senders": senders, "consumers": consumers, "route": route}


@act("probe")
def probe() -> dict[str, Any]:
    """Probe the recipient now, instead of at the end of the circuit breaker's cool-down."""
    return {}


@click.command(
    "reload",
    params=[
        option("--wait", "wait", seconds(0, DAY), 60.0, "How long to wait for what comes of it."),
        queue_option(),
        control_option(),
        output_option(),
    ],
    epilog=EPILOG,
)
def reload(wait: float, queue: str | None, socket: Path | None, output: str) -> int:
    """Read the file of --config again, like SIGHUP, and say what came of it.

    Recipient, limits, rules for statuses, secrets, process counts and log level change without a restart. If another
    option has changed or the file is wrong, the old configuration stays in force, and the exit code is 1.
    """
    import time

    answer, code = answer_to({"act": "reload", **about(queue)}, socket)
    give_up_at = time.monotonic() + wait
    while code == EXIT_DONE and wait:
        if time.monotonic() >= give_up_at:
            late = f"the reload has not ended after {wait:g} seconds; it continues, and the log says what comes of it"
            return show({"ok": False, "error": late}, EXIT_REFUSED, output)
        answer, code = answer_to({"act": "reloading", **about(queue)}, socket)
        if code == EXIT_DONE and not answer.get("busy"):
            if answer.get("in_force"):
                break
            return show({"ok": False, "error": answer.get("text", "")}, EXIT_REFUSED, output)
        time.sleep(LOOK_SECONDS)
    return show(answer, code, output)


@act("rotate")
def rotate() -> dict[str, Any]:
    """Begin a new audit file with the next record, like SIGUSR1."""
    return {}


@act("drain")
def drain() -> dict[str, Any]:
    """Finish what is under way and end, like SIGTERM. The command doesn't wait for the end."""
    return {}


@act("kill", click.Argument(["pid"], type=ClickType(number(1, 1 << 22)), metavar="PID"))
def kill(pid: int) -> dict[str, Any]:
    """Kill one worker, which is replaced. PID is one that /status or ps shows.

    SQS shows the messages that it held again after their visibility timeout; some of them may be delivered twice.
    """
    return {"pid": pid}
