"""The options of a sender."""

from __future__ import annotations

from typing import NamedTuple

from courier.audit.record import Recorder
from courier.recipient.gate import GateOptions
from courier.recipient.policy import AnswerRules, Backoff
from courier.request.lambda_event import EventSource
from courier.sender.rejection import FailureQueue


class Redrive(NamedTuple):
    """The queue's redrive policy: its dead-letter queue, by name, and the receives after which messages go there."""

    dead_letter_queue: str
    receives: int


class BatchOptions(NamedTuple):
    """What a sender needs to know of batches.

    A batch has up to ``size`` messages, and waits up to ``wait`` seconds for them. A sender has up to ``posts`` POSTs
    in flight. With ``reports`` an answer may name the messages of a batch that failed.
    """

    size: int
    wait: float
    posts: int
    source: EventSource
    reports: bool = True


class SenderOptions(NamedTuple):
    """What a sender needs of the configuration. Times are seconds; ``recorder`` is ``None`` without an audit log.

    ``failure_queue`` is where rejected messages go. Without one (``None``) they are tried again. After ``max_receives``
    receives a message that still fails counts as rejected; 0 means never. ``redrive`` is what the queue itself does.
    Without ``batches`` each message has a POST of its own. ``records_sent``: the records are JSON and say what was
    sent, where that isn't the body that was received.
    """

    limits: GateOptions
    visibility: int
    fifo: bool
    rules: AnswerRules
    backoff: Backoff
    recorder: Recorder | None
    failure_queue: FailureQueue | None = None
    max_receives: int = 0
    redrive: Redrive | None = None
    batches: BatchOptions | None = None
    records_sent: bool = False
