"""The proxy through which senders fetch the certificates of SNS."""

from __future__ import annotations

import pytest

from courier.http.proxy import Proxy
from courier.http.url_parsing import read_url
from courier.wiring.preparation import certificate_proxy
from tests.unit.sqs.aws_environment import no_aws

__all__ = ["no_aws"]

SNS = read_url("https://sns.us-east-1.amazonaws.com/")


@pytest.mark.usefixtures("no_aws")
def test_certificates_come_through_the_proxy_of_https_unless_it_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert certificate_proxy(SNS) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert certificate_proxy(SNS) == Proxy("http", "proxy", 3128)
    assert certificate_proxy(read_url("http://sns.internal/")) is None
    monkeypatch.setenv("NO_PROXY", "sns.us-east-1.amazonaws.com")
    assert certificate_proxy(SNS) is None
    monkeypatch.delenv("NO_PROXY")
    # A sender that ended for it would take its messages along; the start has checked the proxy for SQS.
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy:1080")
    assert certificate_proxy(SNS) is None
