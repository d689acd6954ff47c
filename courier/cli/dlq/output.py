"""What the commands on dead letters write to stderr: notes, and a count while they work."""

from __future__ import annotations

from courier.cli.progress_line import ProgressLine
from courier.dlq.look import Seen
from courier.log.printable import one_line
from courier.log.stderr import write_last_line
from courier.sqs.queue import QueueInfo
from courier.terminal.texts import count, duration, plural


def say(command: str, line: str) -> None:
    """Write a note."""
    write_last_line(f"courier {command}: {one_line(line)}")


def warn_of_policy(command: str, queue: QueueInfo) -> None:
    """Say what looks at a queue with a redrive policy lead to."""
    if queue.max_receive_count is not None:
        say(
            command,
            f"{queue.name} has a redrive policy itself: after {plural(queue.max_receive_count, 'receive')} SQS moves a "
            f"message to {queue.dead_letter_name}, and each look is one",
        )


def say_what_was_seen(command: str, seen: Seen, *, limited: bool) -> None:
    """Say how many messages were received, and what is worth saying about others. ``limited``: not all were wanted."""
    if seen.seen:
        none = "; none of them is chosen" if not seen.chosen else ""
        say(command, f"{plural(seen.seen, 'message')} received and shown again{none}; each look counts as a receive")
    if seen.undecided:
        say(
            command,
            f"{plural(seen.undecided, 'message')} left out: the regular expression took more than a second; "
            "avoid a repeat inside a repeat",
        )
    if seen.corrupt:
        say(command, f"{plural(seen.corrupt, 'message')} left out: a body doesn't match its MD5, or an id is invalid")
    if seen.stays_hidden:
        say(
            command,
            f"{plural(seen.stays_hidden, 'message')} could not be shown again; "
            f"SQS shows them by itself within {duration(seen.longest_hidden)}",
        )
        if seen.hide_failure:
            say(command, seen.hide_failure)
    if not limited:
        for line in seen.unseen:
            say(command, line)


class Counter:
    """Shows a growing number while it grows."""

    def __init__(self, participle: str) -> None:
        self._participle = participle
        self._line = ProgressLine()

    def show(self, number: int) -> None:
        """Show the number, if that is due."""
        line = self._line
        if line.is_due():
            line.show(f"{count(number)} {self._participle}, {count(number / line.seconds)} a second")

    def clear(self) -> None:
        """Remove the number from the terminal."""
        self._line.clear()
