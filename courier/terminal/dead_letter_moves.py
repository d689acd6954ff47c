"""What is said of dead letters that would be moved, and of those that were. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from courier.dlq.carrier import Carrier, Redriving
from courier.dlq.dead_letter import DeadLetter
from courier.dlq.mover import Moved, add_bounded
from courier.log.printable import one_line
from courier.terminal.texts import duration, plural

SAMPLES: Final = 5
REASONS: Final = 10
NAMED: Final = 3


class Plan:
    """What a command would do: counts by target and by reason, samples, and what it can't move."""

    def __init__(self, carrier: Carrier) -> None:
        self.moved = Moved()
        self._carrier = carrier
        self._reasons: Counter[str] = Counter()
        self._samples: list[DeadLetter] = []

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Take note of dead letters that are chosen."""
        for letter in letters:
            if reason := self._carrier.refusal(letter):
                self.moved.refuse(letter, reason)
                continue
            self.moved.chosen += 1
            if isinstance(self._carrier, Redriving):
                self.moved.targets[self._carrier.target_name(letter)] += 1
            add_bounded(self._reasons, letter.failure.reason or "unknown reason")
            if len(self._samples) < SAMPLES:
                self._samples.append(letter)

    def lines(self, queue: str, verb: str, unix_now: float) -> Iterator[str]:
        """Yield the lines of a dry run. ``verb`` is what would be done: redriven, dropped."""
        targets = "".join(f" to {name}" for name in self.moved.targets) if len(self.moved.targets) == 1 else ""
        yield f"{plural(self.moved.chosen, 'message')} of {queue} would be {verb}{targets}"
        if len(self.moved.targets) > 1:
            yield from (f"  {number:,} to {one_line(name)}" for name, number in self.moved.targets.most_common())
        yield from (f"  {number:,} with {one_line(reason)}" for reason, number in self._reasons.most_common(REASONS))
        if len(self._reasons) > REASONS:
            yield f"  … and {plural(len(self._reasons) - REASONS, 'other reason')}"
        if self._samples:
            yield "for example"
        for letter in self._samples:
            status = "" if letter.failure.status is None else f" status {letter.failure.status}"
            group = f" group {letter.message.group}" if letter.message.group else ""
            age = duration(letter.age(unix_now)) if letter.message.sent_ms else "unknown age"
            yield "  " + one_line(f"{letter.message_id} {age} old{status}{group}")
        yield from refusals(self.moved, verb)


def refusals(moved: Moved, verb: str) -> Iterator[str]:
    """Yield a line for each reason why messages can't be moved."""
    for reason, number in moved.refused.most_common(REASONS):
        ids = [message_id for message_id, why in moved.examples if why == reason][:NAMED]
        named = f" ({', '.join(ids)}{', …' if number > len(ids) else ''})" if ids else ""
        yield one_line(f"{plural(number, 'message')} can't be {verb}: {reason}{named}")
    if len(moved.refused) > REASONS:
        yield f"… and others, for {plural(len(moved.refused) - REASONS, 'more reason')}"


def result(moved: Moved, verb: str, maybe_twice: int) -> Iterator[str]:
    """Yield the lines about what was moved."""
    if len(moved.targets) == 1 and (name := next(iter(moved.targets))):
        yield f"{plural(moved.moved, 'message')} {verb} to {name}"
    else:
        yield f"{plural(moved.moved, 'message')} {verb}"
        yield from (f"  {number:,} to {one_line(name)}" for name, number in moved.targets.most_common() if name)
    yield from refusals(moved, verb)
    if moved.undeleted:
        yield (
            f"{plural(moved.undeleted, 'message')} could not be deleted after that, and will be {verb} again by the "
            "next run"
        )
    if moved.unrecorded:
        copied = ", though they have been copied" if verb == "redriven" else ""
        yield f"{plural(moved.unrecorded, 'message')} could not be recorded, and stay{copied}"
    if maybe_twice:
        yield f"{plural(maybe_twice, 'message')} may have been {verb} twice: an answer of SQS was lost"
    if moved.returned:
        yield f"{plural(moved.returned, 'message')} came back meanwhile, and stay: see courier dlq stats"
