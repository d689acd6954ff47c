"""What requests reads of the environment: proxies, and whom to trust."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from requests.utils import select_proxy

from courier.http.target import Target


def proxy_for(target: Target) -> str | None:
    """Return the URL of the proxy that leads to a target, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.

    It may hold a password.
    """
    proxy = select_proxy(target.url, _settings(target)["proxies"])
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def ca_bundle_for(target: Target) -> str | None:
    """Return the file or directory of REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE."""
    verify = _settings(target)["verify"]
    return verify if isinstance(verify, str) else None


def _settings(target: Target) -> Mapping[str, Any]:
    with requests.Session() as session:
        return session.merge_environment_settings(target.url, {}, None, None, None)
