"""The proxy for the calls to an endpoint, by the variables of the environment and boto3's rules."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

from courier.errors import CannotStart
from courier.http.proxy import Proxy
from courier.http.url import DEFAULT_PORTS, Url
from courier.http.url_parsing import read_url
from courier.server.loopback import is_loopback

_SUFFIX: Final = "_proxy"


def names_a_proxy(variables: Iterable[str]) -> bool:
    """Return whether any variable is about proxies."""
    return any(name.lower().endswith(_SUFFIX) for name in variables)


def environment_proxy(endpoint: Url) -> Proxy | None:
    """Return the proxy for the calls to an endpoint: HTTPS_PROXY or HTTP_PROXY, unless NO_PROXY names its host.

    As boto3 does, it reads these in capital and in small letters, and no ALL_PROXY. Unlike boto3, it never goes to this
    machine itself through a proxy. Raises CannotStart if the value is no URL of a proxy; the line doesn't repeat it,
    since it may hold a password.
    """
    # Imported here: urllib.request takes as long to import as all options together, and few machines have a proxy.
    from urllib.request import getproxies, proxy_bypass

    if is_loopback(endpoint.host) or proxy_bypass(endpoint.host_header):
        return None
    text = getproxies().get(endpoint.scheme)
    return _read(text, f"{endpoint.scheme.upper()}_PROXY", endpoint) if text else None


def _read(text: str, variable: str, endpoint: Url) -> Proxy:
    if "://" not in text:
        text = f"http://{text.removeprefix('//')}"
    try:
        parts = urlsplit(text)
        user, password, port = parts.username, parts.password, parts.port
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        # Port 80 and 443 without another one, as boto3 has it, and not 3128 or 1080.
        address = read_url(f"{parts.scheme}://{host}:{DEFAULT_PORTS[parts.scheme] if port is None else port}/")
    except (KeyError, ValueError):
        raise CannotStart(
            f"{variable} must be the URL of an HTTP proxy, like http://proxy:3128 or http://user:password@proxy:3128, "
            f"with other characters than letters and digits as %xx; correct it, or add {endpoint.host} to NO_PROXY"
        ) from None
    authorization = ""
    if user:
        pair = f"{unquote(user)}:{unquote(password or '')}".encode()
        authorization = f"Basic {b64encode(pair).decode()}"
    return Proxy(address.scheme, address.host, address.port, authorization, variable)
