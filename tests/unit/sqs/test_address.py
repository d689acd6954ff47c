from __future__ import annotations

import pytest

from courier.errors import CannotStart
from courier.sqs.address import read_address


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", "eu-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/orders", "cn-north-1"),
        ("https://sqs.eusc-de-east-1.amazonaws.eu/123456789012/orders", "eusc-de-east-1"),
        ("https://eu-central-1.queue.amazonaws.com/123456789012/orders", "eu-central-1"),
        ("https://queue.amazonaws.com/123456789012/orders", "us-east-1"),
    ],
)
def test_a_queue_url_of_aws_tells_the_region_and_leaves_the_endpoint_to_boto3(url: str, region: str) -> None:
    assert read_address(url) == ("orders", url, region, None)


@pytest.mark.parametrize(
    ("url", "name", "region", "origin"),
    [
        ("http://localhost:9324/000000000000/orders", "orders", None, "http://localhost:9324"),
        ("http://127.0.0.1:4100/queue/a-b_c.fifo/", "a-b_c.fifo", None, "http://127.0.0.1:4100"),
        (
            "http://sqs.us-east-1.localhost.localstack.cloud:4566/000000000000/q",
            "q",
            "us-east-1",
            "http://sqs.us-east-1.localhost.localstack.cloud:4566",
        ),
        (
            "https://vpce-0a1b-2c3d.sqs.eu-west-1.vpce.amazonaws.com/123456789012/orders",
            "orders",
            "eu-west-1",
            "https://vpce-0a1b-2c3d.sqs.eu-west-1.vpce.amazonaws.com",
        ),
        (
            "https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/orders",
            "orders",
            "us-gov-west-1",
            "https://sqs-fips.us-gov-west-1.amazonaws.com",
        ),
        (
            "https://sqs.us-east-1.api.aws/123456789012/orders",
            "orders",
            "us-east-1",
            "https://sqs.us-east-1.api.aws",
        ),
    ],
)
def test_a_queue_url_of_another_endpoint_tells_where_the_calls_go(
    url: str, name: str, region: str | None, origin: str
) -> None:
    assert read_address(url) == (name, url, region, origin)


@pytest.mark.parametrize("name", ["orders", "a", "A-b_9", "x" * 80, "orders.fifo"])
def test_a_name_is_taken_as_it_is(name: str) -> None:
    assert read_address(name) == (name, None, None, None)


@pytest.mark.parametrize(
    "queue",
    [
        "",
        "x" * 81,
        "orders queue",
        "orders.fifi",
        "örders",
        "orders\n",
        "arn:aws:sqs:eu-west-1:123456789012:orders",
        "https://sqs.eu-west-1.amazonaws.com",
        "https://sqs.eu-west-1.amazonaws.com/",
        "ftp://sqs.eu-west-1.amazonaws.com/1/orders",
        "https:///orders",
    ],
)
def test_what_is_neither_name_nor_url_is_refused_in_one_line_that_names_the_option(queue: str) -> None:
    with pytest.raises(CannotStart) as caught:
        read_address(queue)
    assert "--queue" in str(caught.value)
    assert "\n" not in str(caught.value)
