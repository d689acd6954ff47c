"""Each log line of a worker has a limit of its rate, or a reason why nothing outside can repeat it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import courier

ROOT: Final = Path(courier.__file__).parent
WORKERS: Final = (
    "consumer/consumer.py",
    "sender",
    "auditor",
    "recipient",
    "body",
    "board/shortage.py",
    "board/recent_failures.py",
    "process/internal_errors.py",
    "pipeline.py",
    "preflight.py",
    "risks.py",
    "scheduler",
    "leaving",
    "wiring/leaving.py",
    "local/queue_role.py",
    "sqs",
    "request",
    "audit",
    "http",
    "api",
    "process/child.py",
)
"""What runs in workers, for days, at the mercy of a queue, a recipient, a disk or whoever connects."""

OUTAGE: Final = "an Outage says when a line is due"
ONCE: Final = "once in the life of a process"
MINUTE: Final = "once a minute, with the count"

LIMITED: Final = {
    "consumer/consumer.py": {"receiving again": OUTAGE, "cannot receive, trying again": OUTAGE},
    "body/certificates.py": {
        "certificates of SNS can be fetched again": OUTAGE,
        "cannot fetch a certificate of SNS; its messages are returned to their queue, and tried again later": OUTAGE,
    },
    "sender/sender.py": {"cut deliveries at the end of the drain timeout": ONCE},
    "auditor/auditor.py": {"stopped with outcomes unsettled; SQS shows those messages again": ONCE},
    "recipient/fault_share.py": {"the recipient fails for many messages, and takes others": MINUTE},
    "board/shortage.py": {
        "no resources for another delivery: delivering fewer messages at a time, the others wait": MINUTE,
        "shortage over: delivering as many messages at a time as before": MINUTE,
    },
    "board/recent_failures.py": {"deliveries failed": MINUTE},
    "pipeline.py": dict.fromkeys(
        (
            "starting",
            "stopped before it started",
        ),
        ONCE,
    ),
    "risks.py": dict.fromkeys(
        (
            "too few open files for --concurrency, delivering fewer messages at a time",
            "messages may be deleted without an audit record",
            "messages may drain into the dead-letter or failure queue while the recipient fails or refuses them",
            "a cron job works on the audit files too",
        ),
        ONCE,
    ),
    "local/queue_role.py": dict.fromkeys(
        (
            "the queue is held in memory and gone when it stops; not for production",
            "the queue is reachable from other machines",
        ),
        ONCE,
    ),
    "sqs/credentials.py": {"cannot renew the AWS credentials, going on with the old ones": OUTAGE},
    "auditor/letters.py": {
        "the failure queue accepts rejected messages again": OUTAGE,
        "the failure queue accepts nothing: rejected messages stay hidden and are sent again until it does": OUTAGE,
    },
    "scheduler/scheduler.py": {
        "cannot enqueue periodic tasks; trying again with the latest time of each": OUTAGE,
        "the queue takes periodic tasks again": OUTAGE,
        "enqueuing periodic tasks": ONCE,
    },
    "leaving/watcher.py": {
        "the platform gives notice": "once for each kind of notice",
        "cannot ask whether this machine ends; trying again": OUTAGE,
        "asking again whether this machine ends": OUTAGE,
        "cannot complete the lifecycle action, trying again; without it Auto Scaling waits for the hook's time": OUTAGE,
        "gave up on the lifecycle action": ONCE,
        "completed the lifecycle action; Auto Scaling goes on": ONCE,
        "no lifecycle action waits for this instance": ONCE,
        "cannot change the scale-in protection of the task, trying again; a scale-in may cut deliveries": OUTAGE,
        "the scale-in protection of the task can be changed again": OUTAGE,
    },
    "wiring/leaving.py": dict.fromkeys(
        (
            "not started",
            "cannot complete the lifecycle action",
            "stopped before it started",
            "this setting has no effect",
        ),
        ONCE,
    ),
    "auditor/sqs_calls.py": {
        "cannot settle with SQS, trying again": OUTAGE,
        "settling with SQS again": OUTAGE,
    },
    "http/secret_file.py": {"unsafe file permissions": "only the owner of the file can repeat it"},
    "audit/archive_standing.py": {
        "the archive does not take a segment of the audit log; it stays on the disk and is tried again": OUTAGE,
        "the archive takes segments again": OUTAGE,
    },
    "preflight.py": {"the archive was not checked": ONCE},
    "audit/reader.py": {"DAMAGED": "for a command that reads the files once"},
    "audit/lock.py": {
        "waiting for the audit directory: another process writes in it": ONCE,
        "the audit directory is free": ONCE,
    },
    "audit/retention.py": {"removed an old audit file": "as often as an audit file begins"},
    "auditor/log_state.py": {
        "audit log failing": OUTAGE,
        "audit log can be written again": OUTAGE,
    },
    "api/server.py": {"api listening": ONCE},
    # A person, who has the token, asked for it.
    "api/page_control.py": {"act from the live page": ONCE},
    # Once for each queue and code.
    "auditor/depth_watch.py": {
        "cannot ask how many messages a queue holds; they aren't shown, and nothing else depends on it": ONCE
    },
    "process/child.py": {"cannot start": ONCE, "worker failed": ONCE},
}
"""The lines that aren't a RecurringLine, by file, and what limits each."""

LEVELS: Final = frozenset({"info", "warning", "error", "exception", "critical"})


def files() -> Iterator[Path]:
    for name in WORKERS:
        path = ROOT / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Return the line number and the text of each call of a logger."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id.strip("_") in ("log", "logger")
        ):
            yield node.lineno, text_of(node.args[0])


def text_of(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values if isinstance(part, ast.Constant)).partition(":")[0]
    return ast.unparse(node)


@pytest.mark.parametrize("path", list(files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_line_that_something_outside_can_repeat_is_a_recurring_one(path: Path) -> None:
    limited = LIMITED.get(str(path.relative_to(ROOT)), {})
    free = [(number, text) for number, text in lines_of(path) if text not in limited]
    assert not free, "make it a RecurringLine, or say in LIMITED what limits it"


def test_nothing_is_listed_that_is_gone() -> None:
    for name, limited in LIMITED.items():
        assert set(limited) <= {text for _, text in lines_of(ROOT / name)}, name
