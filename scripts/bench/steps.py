"""The steps of the pipeline, and which of them a Python stack belongs to.

The innermost function of Courier's own decides: by its module or, if a module has parts of two steps, by its name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

LOOP: Final = "loop: epoll, socket reads and writes"
AWAITING: Final = "tasks and futures"
OTHER: Final = "other"


class Frame(NamedTuple):
    """A function in a stack: the path of its file, its name, and its current line."""

    path: str
    line: int
    function: str


STEPS: Final[Sequence[tuple[str, str, frozenset[str]]]] = (
    ("channel: receive", "process/channel.py", frozenset({"receive"})),
    ("channel: send", "process/channel.py", frozenset()),
    ("pack and unpack", "message.py", frozenset()),
    ("pack and unpack", "outbox.py", frozenset()),
    ("SQS: sign", "sqs/signer.py", frozenset()),
    ("SQS: read messages", "sqs/received.py", frozenset()),
    ("SQS: build and read calls", "sqs/", frozenset({"_call", "_exchange", "receive", "delete", "_batch", "_keys"})),
    ("SQS: build and read calls", "sqs/batch.py", frozenset()),
    ("SQS: build and read calls", "sqs/reply.py", frozenset()),
    ("SQS: build and read calls", "sqs/credentials.py", frozenset()),
    ("settle: batches and leases", "auditor/settler.py", frozenset()),
    ("settle: batches and leases", "auditor/held_receipts.py", frozenset()),
    ("settle: batches and leases", "auditor/delete_order.py", frozenset()),
    ("settle: batches and leases", "auditor/sqs_calls.py", frozenset()),
    ("HTTP: render the head", "http/head.py", frozenset()),
    ("HTTP: render the head", "request/head.py", frozenset()),
    ("HTTP: render the head", "request/head_layout.py", frozenset()),
    ("HTTP: render the head", "request/auth.py", frozenset()),
    ("HTTP: render the head", "request/signing.py", frozenset()),
    ("HTTP: render the head", "request/trace.py", frozenset()),
    ("HTTP: parse the answer", "http/reader.py", frozenset()),
    ("HTTP: parse the answer", "http/", frozenset({"data_received", "_answered", "release"})),
    ("HTTP: send the request", "http/", frozenset()),
    ("judge the answer", "recipient/policy.py", frozenset()),
    ("audit: make the record", "audit/record.py", frozenset()),
    ("audit: gather", "auditor/committer.py", frozenset()),
    ("audit: write and fsync", "audit/files.py", frozenset()),
    ("scoreboard and room", "process/scoreboard.py", frozenset()),
    ("scoreboard and room", "board/tally.py", frozenset()),
    ("scoreboard and room", "consumer/intake.py", frozenset()),
    ("limits and breaker", "recipient/", frozenset()),
    ("consumer: the rest", "consumer/consumer.py", frozenset()),
    ("sender: the rest", "sender/", frozenset()),
    ("auditor: the rest", "auditor/auditor.py", frozenset()),
)

_FRAME: Final = re.compile(r'  File "([^"]+)", line (\d+) in (.+)')


def read_stacks(text: str) -> Iterator[list[Frame]]:
    """Parse the output of faulthandler: stacks, innermost function first, without a torn one at the end."""
    for block in text.split("Stack (most recent call first):\n")[1:]:
        frames = [Frame(m[1], int(m[2]), m[3]) for m in map(_FRAME.fullmatch, block.splitlines()) if m]
        if frames:
            yield frames


def step_of(frames: Sequence[Frame]) -> str:
    """Return the step of a stack.

    A stack without Courier's functions above the worker's frame belongs to the loop in C, unless asyncio's own code is
    on top of it.
    """
    for frame in frames:
        _, found, module = frame.path.rpartition("/courier/")
        if not found:
            continue
        if module == "process/child.py" and frame.function in ("_run", "_serve"):
            break
        for step, prefix, functions in STEPS:
            if module.startswith(prefix) and (not functions or frame.function in functions):
                return step
        return f"{OTHER}: {module}"
    return AWAITING if "/asyncio/" in frames[0].path else LOOP


def count_steps(stacks: Iterable[Sequence[Frame]]) -> Counter[str]:
    """Count the stacks of each step."""
    return Counter(step_of(frames) for frames in stacks)


def count_lines(stacks: Iterable[Sequence[Frame]]) -> Counter[str]:
    """Count the stacks by Courier's innermost line."""
    lines: Counter[str] = Counter()
    for frames in stacks:
        for frame in frames:
            _, found, module = frame.path.rpartition("/courier/")
            if found:
                lines[f"{module}:{frame.line} {frame.function}"] += 1
                break
    return lines
