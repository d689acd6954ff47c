"""Where a command finds the API and the control socket of the running Courier."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import quote

from courier.control_client import SERVICE_SOCKET
from courier.errors import ConfigError
from courier.terminal.api_client import QUEUES_PATH, Address, parse_url

DEFAULT_URL: Final = "http://127.0.0.1:8080"
NO_API: Final = "none"

_ANY_ADDRESS: Final = re.compile(r"(//)(?:0\.0\.0\.0|\[::\])(?=:|/|$)")


def find_api(url: str) -> Address:
    """Return where the API is: ``url`` is a URL, or host:port as in ``--api``.

    Raise ConfigError if it is neither, or if it says that there is no API.
    """
    text = url.strip()
    if text.lower() == NO_API:
        raise ConfigError("--url: COURIER_API is none, so nothing is served; start Courier with --api HOST:PORT")
    if "://" not in text:
        text = f"http://{text}"
    # Courier listens on every address of this machine. It is asked on the one that needs no network.
    text = _ANY_ADDRESS.sub(lambda found: found[1] + ("[::1]" if "[" in found[0] else "127.0.0.1"), text)
    try:
        return parse_url(text)
    except ValueError as error:
        raise ConfigError(f"--url: {error}") from None


def of_queue(address: Address, queue: str | None) -> Address:
    """Return where the API of one of several queues is, by the name of its table; ``None`` is all of the program."""
    return address if queue is None else address._replace(path=f"{address.path}{QUEUES_PATH}{quote(queue, safe='')}")


def find_control(given: str | None, runtime_directory: str | None) -> Path | None:
    """Return the control socket to ask: the one that was given, or one that is there; ``None`` for none."""
    if given is not None:
        return None if given.strip().lower() in ("", "none", "off") else Path(given).expanduser()
    first = (runtime_directory or "").partition(":")[0]
    found = Path(first) / SERVICE_SOCKET.name if first.startswith("/") else SERVICE_SOCKET
    return found if found.exists() else None
