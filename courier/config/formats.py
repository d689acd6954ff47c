"""The options of the form of a request, and where it goes by message."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from courier.config.checks import refuse
from courier.config.option import option
from courier.config.units import PATH_PREFIX, TEXT

_option = partial(option, "Formats and routes")


@dataclass(frozen=True, kw_only=True)
class FormatsConfig:
    """The options of the form of a request, and where it goes by message."""

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

    def _check_formats(self) -> None:
        """Raise ConfigError if the values don't fit together."""
        if self.path_attribute and not self.path_allow:
            refuse("--path-attribute", "needs --path-allow: anyone who can send to the queue chooses the path")
        if self.path_allow and not self.path_attribute:
            refuse("--path-allow", "needs --path-attribute: without it, messages choose no path")
