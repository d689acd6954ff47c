"""The step that lets a message choose its path."""

from __future__ import annotations

from collections.abc import Callable

from courier.http.answer import Failure
from courier.recipient.content import PATH_NOT_ALLOWED
from courier.request.content import Content, Made, Step
from courier.request.head_layout import attribute_value
from courier.request.paths import AllowedPaths, PathError


def path_step(attribute: str, allowed: AllowedPaths) -> Step:
    """Return the step that sends a message to the path in an attribute; without the attribute, to that of the URL."""

    def choose_path(content: Content, done: Callable[[Made], None]) -> Made:
        text = attribute_value(content.message, attribute) if content.message.attributes else None
        if text is None:
            return content
        try:
            return content._replace(path=allowed.read(text))
        except PathError as error:
            return Failure(PATH_NOT_ALLOWED, f"the attribute {attribute}: {error}", 0.0)

    return choose_path
