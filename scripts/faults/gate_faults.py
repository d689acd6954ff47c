"""The faults that a gate can show between a program and SQS, and the errors that it then answers with."""

from __future__ import annotations

import random
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import orjson

from scripts.faults.gate_calls import BATCHES, RECEIPT_ACTIONS, RECEIVE, Answer, Call

ERRORS: Final = {
    "throttle": (
        (400, "com.amazonaws.sqs#RequestThrottled", "RequestThrottled"),
        (400, "com.amazon.coral.service#ThrottlingException", "ThrottlingException"),
    ),
    "error": (
        (500, "com.amazon.coral.service#InternalFailure", "InternalFailure"),
        (503, "com.amazon.coral.service#ServiceUnavailable", "ServiceUnavailable"),
    ),
    "expired-token": ((403, "com.amazon.coral.service#ExpiredTokenException", "ExpiredToken"),),
    "denied": ((403, "com.amazon.coral.service#AccessDeniedException", "AccessDenied"),),
}
"""Kinds that answer a call with an error instead of SQS: one of these, by chance."""

KINDS: Final = (
    *ERRORS,
    "slow",
    "black-hole",
    "reset",
    "cut",
    "lost-answer",
    "invalid-receipt",
    "partial",
    "refuse",
    "duplicate-receive",
)
AFTER: Final = frozenset({"cut", "lost-answer"})
"""Kinds that let SQS do what it was asked, and spoil its answer."""

BEFORE: Final = frozenset(KINDS) - AFTER - {"refuse"}
"""Kinds that meet a call on its way to SQS."""

APPLIES_TO: Final = {
    "invalid-receipt": RECEIPT_ACTIONS,
    "partial": frozenset(BATCHES),
    "duplicate-receive": frozenset({RECEIVE}),
}


@dataclass(frozen=True, slots=True)
class SqsFault:
    """A fault between a program and SQS.

    - ``throttle``, ``error``, ``expired-token``, ``denied``: the call is answered with such an error, without SQS.
    - ``slow``: the call reaches SQS ``seconds`` later.
    - ``black-hole``: no answer, and the connection stays. With each action and a share of 1, connecting hangs too.
    - ``reset``: the connection is reset at the request, which doesn't reach SQS.
    - ``cut``: SQS does it, and the connection is reset after the part ``amount`` of the answer.
    - ``lost-answer``: SQS does it, and the connection is reset instead of the answer.
    - ``invalid-receipt``: SQS doesn't do it; each receipt handle is said to be invalid.
    - ``partial``: entries of a batch fail with InternalError, each with chance ``amount``; SQS gets the others.
    - ``refuse``: all connections are reset, new ones refused; ``actions`` and ``share`` don't count.
    - ``duplicate-receive``: a message that was received before comes again, as standard queues may do.

    ``actions`` are the actions that it hits, all if empty; ``share`` is the part of their calls. With a ``token``, it
    hits only the calls that are signed with this session token.
    """

    kind: str
    actions: frozenset[str] = frozenset()
    share: float = 1.0
    seconds: float = 1.0
    amount: float = 0.5
    seed: int = 1
    token: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault {self.kind!r}; there are {', '.join(KINDS)}")

    @property
    def whole(self) -> bool:
        """Whether it hits each call."""
        return not self.actions and self.share >= 1.0

    def hits(self, call: Call) -> bool:
        """Return whether it may hit a call."""
        action = call.action
        if self.token and call.token != self.token:
            return False
        return (not self.actions or action in self.actions) and action in APPLIES_TO.get(self.kind, {action})


class ShownFault:
    """A fault that is shown: since when, its chances, and how many calls it has hit."""

    def __init__(self, fault: SqsFault) -> None:
        self.hits = 0
        self.fault: Final = fault
        self.since: Final = time.monotonic()
        self.chance: Final = random.Random(fault.seed)

    def draw(self, call: Call, kinds: Collection[str]) -> bool:
        """Return whether it hits this call, if its kind is one of ``kinds``."""
        fault = self.fault
        hit = fault.kind in kinds and fault.hits(call) and (fault.share >= 1 or self.chance.random() < fault.share)
        self.hits += hit
        return hit


def error_answer(kind: str, chance: random.Random) -> Answer:
    """Return an error of one of the kinds of :data:`ERRORS`, in the JSON protocol."""
    return _error(*chance.choice(ERRORS[kind]))


def invalid_receipts(call: Call) -> Answer:
    """Return the answer of SQS to a call all of whose receipt handles are invalid."""
    if call.action not in BATCHES:
        return _error(400, "com.amazonaws.sqs#ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid")
    failed = [failed_entry(entry, "ReceiptHandleIsInvalid", by_sender=True) for entry in call.entries]
    return Answer.of({"Successful": [], "Failed": failed})


def failed_entry(
    entry: dict[str, object], code: str = "InternalError", *, by_sender: bool = False
) -> dict[str, object]:
    """Return the failure of a batch entry."""
    return {"Id": entry.get("Id"), "SenderFault": by_sender, "Code": code, "Message": "as the suite wants it"}


def _error(status: int, shape: str, code: str) -> Answer:
    side = b"Receiver" if status >= 500 else b"Sender"
    body = orjson.dumps({"__type": shape, "message": "as the suite wants it"})
    return Answer(status, [Answer.JSON, (b"x-amzn-query-error", code.encode() + b";" + side)], body)
