"""The options of what a request holds, and of where it goes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from courier.config.checks import refuse
from courier.config.option import option
from courier.config.routes import ROUTES, RoutesFile
from courier.config.units import PATH, PATH_PREFIX, TEXT, YES_NO, one_of, seconds

if TYPE_CHECKING:
    from courier.scheduler.tasks import Task

TASK_PATH: Final = "beanstalk.sqsd.path"
"""The attribute of the path of a periodic task."""

MESSAGE: Final = "message"
LAMBDA: Final = "lambda"

_option = partial(option, "Formats and routes")


@dataclass(frozen=True, kw_only=True)
class FormatsConfig:
    """The options of what a request holds, and of where it goes."""

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
        "Maximum time a batch waits for more messages.",
        "With --format lambda, a batch is sent when it is full, or after this time.",
    )
    batch_item_failures: bool = _option(
        True,
        "--batch-item-failures",
        YES_NO,
        "Whether the answer names failed messages.",
        "With --format lambda. yes: like an event source mapping with ReportBatchItemFailures. no: like one without "
        "it.",
    )
    cloudevents_source: str = _option(
        "/sqs/{queue}",
        "--cloudevents-source",
        TEXT,
        "Source of events without ce-source.",
        "For --headers cloudevents, which makes each message an event. It may hold {queue}, {attribute.NAME} and the "
        "other placeholders of --header.",
    )
    cloudevents_type: str = _option(
        "com.amazon.sqs.message",
        "--cloudevents-type",
        TEXT,
        "Type of events without ce-type.",
        "Placeholders are as in --cloudevents-source.",
    )
    cloudevents_subject: str = _option(
        "",
        "--cloudevents-subject",
        TEXT,
        "Subject of events without ce-subject.",
        "Placeholders are as in --cloudevents-source. If the text is empty, or the message lacks a value, there is no "
        "subject.",
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
    routes: RoutesFile | None = _option(  # noqa: RUF009 (immutable)
        None,
        "--routes",
        ROUTES,
        "TOML file of messages that go to other URLs.",
        "Each route has its own senders, limits and circuit breaker. Other messages go to --recipient-url.",
    )
    cron: Path | None = _option(  # noqa: RUF009 (immutable)
        None,
        "--cron",
        PATH,
        "File (cron.yaml) of periodic tasks to enqueue.",
        "The format is that of Elastic Beanstalk's worker tier: the name, url and schedule (UTC) of each task. "
        "Messages may choose the paths of these tasks. On a FIFO queue, all replicas together enqueue a task once; on "
        "a standard queue, give this option to one replica only.",
    )

    @property
    def chosen_path_attribute(self) -> str:
        """The message attribute that holds the path; empty if messages choose none."""
        return self.path_attribute or (TASK_PATH if self.cron is not None else "")

    # Cached, so that a reload passes it on from the process that has read it.
    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """The periodic tasks. Raise CannotStart if the file can't be read."""
        if self.cron is None:
            return ()
        # Imported here, because few programs have periodic tasks.
        from courier.scheduler.tasks import read_tasks

        return read_tasks(self.cron)

    @property
    def event_texts(self) -> dict[str, str]:
        """The templates of an event's attributes."""
        return {
            "source": self.cloudevents_source,
            "type": self.cloudevents_type,
            "subject": self.cloudevents_subject,
        }

    @property
    def is_batched(self) -> bool:
        """Whether a request may hold several messages."""
        return self.format == LAMBDA

    def _check_formats(self) -> None:
        """Raise ConfigError if the values don't fit together."""
        if self.path_attribute and not self.path_allow:
            refuse("--path-attribute", "needs --path-allow: anyone who can send to the queue chooses the path")
        if self.path_allow and not self.chosen_path_attribute:
            refuse("--path-allow", "needs --path-attribute: without it, messages choose no path")
        if self.cron is not None and self.chosen_path_attribute != TASK_PATH:
            refuse("--cron", f"needs --path-attribute {TASK_PATH}, or none: it holds the path of a task")
        if self.cron is not None and self.is_batched:
            refuse("--cron", "is for --format message: a request that holds several messages has one path")
        if self.path_attribute and self.is_batched:
            refuse("--path-attribute", "is for --format message: a request that holds several messages has one path")
        self._check_event_texts()

    def _check_event_texts(self) -> None:
        defaults = FormatsConfig.__dataclass_fields__
        given = {
            name: text for name, text in self.event_texts.items() if text != defaults[f"cloudevents_{name}"].default
        }
        if not given:
            return
        # Imported here, because few programs send events.
        from courier.request.cloudevents import read_template

        for name, text in given.items():
            try:
                read_template(name, text)
            except ValueError as error:
                refuse(f"--cloudevents-{name}", str(error))
