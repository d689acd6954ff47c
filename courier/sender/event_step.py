"""The step that makes a message a CloudEvent."""

from __future__ import annotations

from collections.abc import Callable

from courier.http.answer import Failure
from courier.recipient.content import NO_EVENT
from courier.request.cloudevents import EventTemplate, NoEventError
from courier.request.content import Content, Made, Step


def event_step(template: EventTemplate) -> Step:
    """Return the step that adds the headers of an event."""

    def make_event(content: Content, done: Callable[[Made], None]) -> Made:
        try:
            event = template.event(content.message)
        except NoEventError as error:
            return Failure(NO_EVENT, str(error), 0.0)
        return content._replace(
            message=content.message._replace(attributes=event.attributes),
            required=content.required + event.required,
            headers=content.headers + event.optional,
            dropped=content.dropped + event.dropped,
        )

    return make_event
