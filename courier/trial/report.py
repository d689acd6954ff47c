"""What a trial shows: the request, the answer, and the outcome in words. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from courier.http.answer import Answer, Failure
from courier.http.secret_mask import Mask
from courier.log.printable import one_line
from courier.message import DELIVERED, FETCHED, REJECTED
from courier.recipient.content import NOT_FETCHED, UNSENDABLE
from courier.recipient.policy import AnswerRules
from courier.trial.transport import Request
from courier.trial.trial import Trial

ANSWER_BYTES: Final = 2000
"""Bytes of an answer that are shown."""

UNTIL_MOVED: Final = "a run tries it again until the queue's redrive policy moves it"

SHOWN_ANSWER_HEADERS: Final = 50


class Verdict(NamedTuple):
    """The outcome in words, and whether the message would have been delivered."""

    text: str
    is_delivered: bool = False


def request_bytes(request: Request, mask: Mask) -> bytes:
    """Return a request as it is sent, but for secrets, and for the end of a body that is too long to be shown."""
    body = mask(request.body)
    cut = request.length - len(request.body)
    return mask(request.head) + body + (f"\n… and {cut:,} more bytes".encode() if cut else b"")


def answer_lines(answer: Answer | Failure, mask: Mask) -> list[str]:
    """Return the lines about an answer, or about the lack of one."""
    took = f"{answer.duration * 1000:.0f} ms"
    if isinstance(answer, Failure):
        return [one_line(f"no answer after {took}: {answer.reason}: {mask.text(answer.detail)}")]
    lines = [f"status {answer.status} after {took}"]
    for name, value in answer.headers[:SHOWN_ANSWER_HEADERS]:
        lines.append(one_line(mask(name + b": " + value).decode("latin-1")))
    body = mask(answer.body)[:ANSWER_BYTES]
    if body:
        lines += ["", *map(one_line, body.decode(errors="replace").splitlines())]
    if len(answer.body) > ANSWER_BYTES or answer.truncated:
        lines.append("…")
    return lines


def verdict(trial: Trial, failure_queue: str, rules: AnswerRules, longest_delay: float) -> Verdict:
    """Return what a run would do with the message.

    ``failure_queue`` names it, empty without one. ``longest_delay`` is the longest time until the next attempt.
    """
    settlement, failure = trial.settlement, trial.failure
    if settlement is not None and settlement.kind in (DELIVERED, FETCHED):
        return Verdict("delivered: a run records it, and then deletes the message", is_delivered=True)
    if failure is None:
        return Verdict("no outcome: nothing happened in time")
    reason = failure.reason if trial.request is not None else f"{failure.reason}: {failure.answer}"
    why = f" ({advice})" if (advice := UNSENDABLE.get(failure.reason) or NOT_FETCHED.get(failure.reason)) else ""
    is_rejected = failure.reason in UNSENDABLE or failure.status in rules.reject
    if (settlement is not None and settlement.kind == REJECTED) or is_rejected:
        then = f"a run moves it to {failure_queue}" if failure_queue else f"without --failure-queue {UNTIL_MOVED}"
        return Verdict(one_line(f"rejected: {reason}{why}; {then}"))
    return Verdict(
        one_line(f"retry: {reason}{why}; a run tries it again within {longest_delay:.0f} s; the delay grows each time")
    )
