"""The options of the form of a request, and where it goes by message."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from courier.config.checks import refuse
from courier.config.option import option
from courier.config.units import PATH_PREFIX, TEXT, YES_NO, one_of, seconds

MESSAGE: Final = "message"
LAMBDA: Final = "lambda"

_option = partial(option, "Formats and routes")


@dataclass(frozen=True, kw_only=True)
class FormatsConfig:
    """The options of the form of a request, and where it goes by message."""

    format: str = _option(
        MESSAGE,
        "--format",
        one_of(MESSAGE, LAMBDA),
        "What a request holds.",
        "message: the body of one message. lambda: up to --batch-size messages, as the SQS trigger of AWS Lambda sends "
        "them to a function.",
    )
    batch_wait_seconds: float = _option(
        0.0,
        "--batch-wait",
        seconds(0, 300),
        "How long a batch waits for messages.",
        "With --format lambda: a batch goes when it is full, and at the latest after this time.",
    )
    batch_item_failures: bool = _option(
        True,
        "--batch-item-failures",
        YES_NO,
        "Whether the answer names failed messages.",
        "With --format lambda: yes as an event source mapping with ReportBatchItemFailures, no as one without it.",
    )
    path_attribute: str = _option(
        "",
        "--path-attribute",
        TEXT,
        "Message attribute that holds the path of the request.",
        "For example beanstalk.sqsd.path. The path replaces that of --recipient-url; a message without the attribute "
        "goes to --recipient-url.",
    )
    path_allow: tuple[str, ...] = _option(
        (),
        "--path-allow",
        PATH_PREFIX,
        "Prefix of the paths that messages may choose; repeatable.",
        "/jobs allows /jobs and /jobs/mail. A message with any other path is rejected.",
        repeated=True,
    )

    @property
    def is_batched(self) -> bool:
        """Whether a request may hold several messages."""
        return self.format == LAMBDA

    def _check_formats(self) -> None:
        """Raise ConfigError if the values don't fit together."""
        if self.path_attribute and not self.path_allow:
            refuse("--path-attribute", "needs --path-allow: anyone who can send to the queue chooses the path")
        if self.path_allow and not self.path_attribute:
            refuse("--path-allow", "needs --path-attribute: without it, messages choose no path")
        if self.path_attribute and self.is_batched:
            refuse("--path-attribute", "is for --format message: a request that holds several messages has one path")
