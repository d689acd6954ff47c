"""The file of ``--routes``: which messages go to which other URL, and with which options of their own."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from courier.config.units import PATH, OptionType
from courier.errors import ConfigError
from courier.process.scoreboard import POOLS

if TYPE_CHECKING:
    from courier.config.config import Config
    from courier.config.option import Option

MOST_ROUTES: Final = POOLS - 1
MOST_BYTES: Final = 1 << 20
LONGEST_PATTERN: Final = 256
DEFAULT_ROUTE: Final = "default"
"""The name under which ``--recipient-url`` is shown beside the routes."""

NOT_ELSEWHERE: Final = frozenset(
    {"header", "bearer_token_file", "basic_auth_file", "webhook_secret_file", "client_cert", "client_key"}
)
"""Options that a route doesn't take over if its URL has another origin: what proves Courier's identity to one recipient
is no business of another one."""

OF_ALL: Final = frozenset({"recipient_url", "routes", "cron", "preset", "failure_queue", "transport"})
"""Options of the same subjects that are the same for all routes, or that a route says in another way."""

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?")
_PLACE: Final = re.compile(r"at line [0-9]+, column [0-9]+|at end of document")
_OWN_KEYS: Final = ("name", "attribute", "pattern", "group", "url")


class Route(NamedTuple):
    """A route: messages whose ``attribute`` (empty: whose group) matches ``pattern`` get the options ``values``.

    ``values`` are pairs of a field of Config and its value, that of ``recipient_url`` among them.
    """

    name: str
    attribute: str
    pattern: str
    values: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class RoutesFile:
    """The routes of a file, in its order. Two are equal if their routes are, wherever they stand."""

    path: Path = field(compare=False)
    # A URL may be a key.
    routes: tuple[Route, ...] = field(repr=False)

    def __str__(self) -> str:
        """Return the path alone: a URL may be a key."""
        return str(self.path)


def route_configs(config: Config) -> list[Config]:
    """Return the configuration of each route. Raise ConfigError, which names the route, if one isn't valid."""
    if config.routes is None:
        return []
    found = []
    for route in config.routes.routes:
        try:
            found.append(_route_config(config, dict(route.values)))
        except ConfigError as error:
            line = str(error).replace("--recipient-url", "url").removeprefix("--")
            raise ConfigError(f"--routes: {config.routes.path}, route {route.name}: {line}") from None
    return found


def _route_config(config: Config, own: Mapping[str, Any]) -> Config:
    # Imported here, because the configuration itself has the routes.
    from courier.config.config import OPTIONS
    from courier.config.consequences import adapt_defaults

    given = {**_left_out(config, own), **own}
    values = {name: getattr(config, name) for name in OPTIONS} | given
    return replace(config, **{**given, **adapt_defaults(values, own), "routes": None})


def _left_out(config: Config, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a route at another origin doesn't take over, with their defaults."""
    from courier.config.config import DEFAULTS
    from courier.http.url_parsing import read_url

    try:
        url = read_url(values["recipient_url"])
    except ValueError:
        return {}
    here = config.recipient
    if (url.scheme, url.host, url.port) == (here.scheme, here.host, here.port):
        return {}
    names = NOT_ELSEWHERE | ({"ca_file"} if url.scheme != "https" else set())
    return {name: DEFAULTS[name] for name in names if name not in values}


def read_routes(path: Path) -> RoutesFile:
    """Read a file of routes. Raise ValueError with a line that says what is wrong, and where."""
    # Imported here, because few programs have such a file.
    import tomllib

    try:
        content = tomllib.loads(_read(path).decode())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}; give a readable TOML file") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        place = _PLACE.search(str(error))
        raise ValueError(f"{path} is not TOML{f' {place[0]}' if place else ''}; see docs/routes.md") from None
    tables = content.get("route")
    if set(content) != {"route"} or not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise ValueError(f"{path} must have a [[route]] for each route, and nothing else")
    if not 1 <= len(tables) <= MOST_ROUTES:
        raise ValueError(f"{path} must have 1 to {MOST_ROUTES} routes, not {len(tables)}")
    routes: list[Route] = []
    for number, table in enumerate(tables, 1):
        try:
            routes.append(_read_route(table, [route.name for route in routes]))
        except ValueError as error:
            name = table.get("name")
            shown = name if isinstance(name, str) and _NAME.fullmatch(name) else number
            raise ValueError(f"{path}, route {shown}: {error}") from None
    return RoutesFile(path, tuple(routes))


def _read(path: Path) -> bytes:
    """Return the content of a regular file. Links are followed: that is how Kubernetes provides files."""
    # Without waiting for the other end of a FIFO.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {MOST_BYTES:,} bytes", str(path))
    return text


def _read_route(table: Mapping[str, Any], names: Sequence[str]) -> Route:
    name = table.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("name must be up to 32 letters (a to z), digits, - and _")
    if name in names or name == DEFAULT_ROUTE:
        whose = "--recipient-url" if name == DEFAULT_ROUTE else "another route"
        raise ValueError(f"name must be unique: {whose} has it too")
    attribute, pattern = _read_match(table)
    if not isinstance(table.get("url"), str) or not table["url"]:
        raise ValueError("url is missing; give the URL to POST the messages of the route to")
    options = route_options()
    values: dict[str, Any] = {"recipient_url": table["url"]}
    for key, value in table.items():
        if key in _OWN_KEYS:
            continue
        if key.replace("_", "-") not in options:
            raise ValueError(f"{key!r} isn't an option of a route; docs/routes.md lists those that are")
        field_name, option = options[key.replace("_", "-")]
        values[field_name] = _read_value(key, value, option)
    return Route(name, attribute, pattern, tuple(values.items()))


def _read_match(table: Mapping[str, Any]) -> tuple[str, str]:
    """Return the attribute, empty for the group, and the pattern."""
    attribute, pattern, group = table.get("attribute"), table.get("pattern"), table.get("group")
    if (attribute is None) == (group is None) or (attribute is None) != (pattern is None):
        raise ValueError("give either attribute and pattern, or group: it is the pattern of the message group")
    for key, value in (("attribute", attribute), ("pattern", pattern), ("group", group)):
        if value is not None and (not isinstance(value, str) or not 1 <= len(value) <= LONGEST_PATTERN):
            raise ValueError(f"{key} must be a text of 1 to {LONGEST_PATTERN} characters")
    return attribute or "", pattern or group or ""


def _read_value(key: str, value: Any, option: Option) -> Any:
    if option.repeated and not isinstance(value, list):
        raise ValueError(f"{key}: must be a list of strings")
    try:
        return option.parse(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


@cache
def route_options() -> Mapping[str, tuple[str, Option]]:
    """Return the options that a route may have of its own: by key, the field of Config and the option."""
    # Imported here, because the configuration itself has the routes.
    from courier.config.config import OPTIONS
    from courier.config.formats import FormatsConfig
    from courier.config.limits import LimitsConfig
    from courier.config.recipient import RecipientConfig
    from courier.config.security import SecurityConfig
    from courier.config.sns import SnsConfig

    parts = (RecipientConfig, SnsConfig, FormatsConfig, LimitsConfig, SecurityConfig)
    names = {"senders", "concurrency", *(each.name for part in parts for each in fields(part))} - OF_ALL
    return {option.key: (name, option) for name, option in OPTIONS.items() if name in names}


def _parse(value: object) -> RoutesFile | None:
    if isinstance(value, str) and value.strip().lower() in ("none", "off"):
        return None
    return value if isinstance(value, RoutesFile) else read_routes(PATH.parse(value))


ROUTES: Final = OptionType("PATH|none", _parse, "path, or `none`")
"""A file of routes, which is read at once: a reload has to see what has changed in it."""
