"""What requests reads of the environment: proxies, and whom to trust."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.utils import select_proxy

from courier.http.target import Target


class Proxy(NamedTuple):
    """A proxy; its ``url`` may hold a password."""

    url: str
    host: str
    port: int

    @property
    def name(self) -> str:
        """What may be told of it."""
        return f"{self.host}:{self.port}"


def proxy_for(target: Target) -> Proxy | None:
    """Return the proxy that leads to a target, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.

    Raises ValueError, in one line without the URL, where it is none that is spoken to in plain HTTP.
    """
    text = select_proxy(target.url, _settings(target)["proxies"])
    if not text:
        return None
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname:
            return Proxy(url, parts.hostname, parts.port or 80)
    except ValueError:
        pass
    raise ValueError(f"the proxy of the environment for {target.scheme} must be a URL like http://proxy:3128")


def ca_bundle_for(target: Target) -> str | None:
    """Return the path in REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE."""
    verify = _settings(target)["verify"]
    return verify if isinstance(verify, str) else None


def _settings(target: Target) -> Mapping[str, Any]:
    with requests.Session() as session:
        return session.merge_environment_settings(target.url, {}, None, None, None)
