"""The variables that requests reads from the environment: proxies and CA bundles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy

from courier.http.url import Url


class Proxy(NamedTuple):
    """A proxy; its ``url`` may hold a password."""

    url: str
    host: str
    port: int


def proxy_for(recipient: Url) -> Proxy | None:
    """Return the proxy for a target, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.

    Raises ValueError, in one line without the URL, if Courier can't speak plain HTTP to it.
    """
    text = select_proxy(recipient.text, _settings(recipient)["proxies"])
    if not text:
        return None
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname:
            return Proxy(url, parts.hostname, parts.port or 80)
    except ValueError:
        pass
    raise ValueError(f"the proxy of the environment for {recipient.scheme} must be a URL like http://proxy:3128")


def added_for_proxy(recipient: Url) -> int:
    """Return the bytes that the proxy's credentials and the absolute URL add to the head of a request."""
    proxy = proxy_for(recipient)
    if proxy is None or recipient.scheme == "https":
        return 0
    added = HTTPAdapter().proxy_headers(proxy.url)
    return len(f"{recipient.scheme}://{recipient.host_header}") + sum(len(f"{n}: {v}\r\n") for n, v in added.items())


def ca_bundle_for(recipient: Url) -> str | None:
    """Return the path in REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE."""
    verify = _settings(recipient)["verify"]
    return verify if isinstance(verify, str) else None


def _settings(recipient: Url) -> Mapping[str, Any]:
    with requests.Session() as session:
        return session.merge_environment_settings(recipient.text, {}, None, None, None)
