"""The proxy of the environment, against botocore's rules."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Mapping
from unittest.mock import patch
from urllib.parse import quote

import pytest
from botocore.httpsession import ProxyConfiguration
from botocore.utils import get_environ_proxies
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.errors import CannotStart
from courier.http.proxy import Proxy
from courier.http.url_parsing import read_url
from courier.sqs.environment_proxy import environment_proxy, names_a_proxy
from courier.sqs.plain_environment import PlainEnvironment, read_plain_environment
from courier.sqs.queue import QueueInfo
from courier.sqs.signer import Keys
from tests.examples import examples

AWS = "https://sqs.eu-west-1.amazonaws.com/"
URLS = st.sampled_from(
    [AWS, "http://sqs.internal:9324/", "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com:8443/", "http://10.1.2.3/"]
)
PROXIES = st.sampled_from(
    ["http://proxy:3128", "https://secure.example", "proxy:8080", "//bare", "http://u:p@10.0.0.1:1"]
)
NAMES = st.sampled_from(["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
EXEMPT = st.lists(
    st.sampled_from(
        ["amazonaws.com", ".amazonaws.com", "sqs.internal", "sqs.internal:9324", "10.0.0.0/8", "*", "", "x"]
    ),
    max_size=3,
).map(",".join)
VARIABLES = st.builds(
    lambda proxies, exempt, name: proxies | ({name: exempt} if exempt is not None else {}),
    st.dictionaries(NAMES, PROXIES | st.just(""), max_size=4),
    st.none() | EXEMPT,
    st.sampled_from(["no_proxy", "NO_PROXY"]),
)


def found(url: str, variables: Mapping[str, str]) -> Proxy | None:
    with patch.dict(os.environ, variables, clear=True):
        return environment_proxy(read_url(url))


@settings(max_examples=examples(200), deadline=None)
@given(variables=VARIABLES, url=URLS)
def test_the_proxy_is_the_one_that_boto3_goes_through(variables: Mapping[str, str], url: str) -> None:
    with patch.dict(os.environ, variables, clear=True):
        expected = ProxyConfiguration(get_environ_proxies(url)).proxy_url_for(url)
    proxy = found(url, variables)
    if expected is None:
        assert proxy is None
    else:
        assert proxy is not None
        parts = read_url(expected.replace("u:p@", ""))
        assert (proxy.scheme, proxy.host, proxy.port) == (parts.scheme, parts.host, parts.port)
        assert bool(proxy.authorization) == ("u:p@" in expected)
    # A plain environment asks only where a variable is about proxies.
    plain = PlainEnvironment(Keys("a", "b"), None, None, None, names_a_proxy(variables))
    with patch.dict(os.environ, variables, clear=True):
        assert plain.find_proxy(read_url(url)) == proxy


@settings(max_examples=examples(100), deadline=None)
@given(user=st.text(min_size=1, max_size=20), password=st.text(max_size=20))
def test_any_user_and_password_reach_the_proxy(user: str, password: str) -> None:
    proxy = found(AWS, {"HTTPS_PROXY": f"http://{quote(user, safe='')}:{quote(password, safe='')}@proxy:3128"})
    assert proxy is not None
    assert proxy.authorization == f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
    assert repr(proxy).count(proxy.authorization) == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "queue.localhost", "127.8.8.8"])
def test_this_machine_is_never_behind_a_proxy(host: str) -> None:
    assert found(f"http://{host}:9324/", {"HTTP_PROXY": "http://proxy:3128"}) is None


@pytest.mark.parametrize(
    "value",
    [
        "socks5://u:hunter2@proxy:1080",
        "http://u:hunter2@",
        "http://u:hunter2@proxy:port",
        "ftp://hunter2",
        "http://[:1",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_in_one_line_without_its_password(value: str) -> None:
    with pytest.raises(CannotStart) as refused:
        found(AWS, {"HTTPS_PROXY": value})
    line = str(refused.value)
    assert line.startswith("HTTPS_PROXY must be the URL of an HTTP proxy, like http://proxy:3128")
    assert "hunter2" not in line
    assert "\n" not in line


def test_a_queue_takes_its_proxy_along_to_the_roles() -> None:
    queue = QueueInfo("u", "n", "r", read_url(AWS), False, 30, proxy=Proxy("http", "proxy", 3128, "Basic x"))
    assert QueueInfo.from_json(queue.to_json()) == queue
    assert "Basic x" not in repr(queue)


def test_an_environment_with_a_proxy_is_plain_still(tmp_path: object) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "HTTPS_PROXY": "http://proxy:3128"}
    with patch.dict(os.environ, {"HOME": str(tmp_path)}):
        plain = read_plain_environment(keys)
    assert plain is not None
    assert plain.names_a_proxy
