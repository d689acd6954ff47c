from __future__ import annotations

import datetime
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from courier.http.url import Url
from courier.http.url_parsing import read_url
from courier.sqs.signer import Keys, SigV4Signer

MIDNIGHT = 1_767_225_600  # 2026-01-01T00:00:00Z
KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session+token/==")

key_text = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
all_keys = st.builds(Keys, key_text, key_text, st.just("") | key_text)
regions = st.sampled_from(["us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1"])
actions = st.sampled_from(["ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch", "SendMessageBatch"])
instants = st.integers(0, 4_102_444_800) | st.integers(MIDNIGHT - 2, MIDNIGHT + 2)
hosts = st.sampled_from(["sqs.us-east-1.amazonaws.com", "localhost", "127.0.0.1", "[::1]", "queue_server.local"])
ports = st.just("") | st.integers(1, 65535).map(lambda port: f":{port}")
path_characters = st.sampled_from([*"abcXYZ019-._~!$&'()*+,;=:@/", "/", "%20", "%2F", "%C3%A9", "..", "."])
paths = st.lists(path_characters, max_size=12).map(lambda parts: "/" + "".join(parts))
targets = st.builds(
    lambda scheme, host, port, path: read_url(f"{scheme}://{host}{port}{path}"),
    st.sampled_from(["http", "https"]),
    hosts,
    ports,
    paths,
)


def headers_of(head: bytes) -> dict[str, str]:
    lines = head.decode("ascii").split("\r\n")
    assert lines[-2:] == ["", ""]
    pairs = [line.split(": ", 1) for line in lines[1:-2]]
    assert len({name.lower() for name, _ in pairs}) == len(pairs)
    return {name.lower(): value for name, value in pairs}


def by_botocore(target: Url, region: str, keys: Keys, action: str, body: bytes, now: int) -> dict[str, str]:
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": f"AmazonSQS.{action}",
        "X-Amzn-Query-Mode": "true",
    }
    request = AWSRequest(method="POST", url=target.text, data=body, headers=headers)
    at = datetime.datetime.fromtimestamp(now, datetime.UTC).replace(tzinfo=None)
    with patch("botocore.auth.get_current_datetime", return_value=at):
        SigV4Auth(Credentials(keys.access_key, keys.secret_key, keys.token or None), "sqs", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def assert_signed_as_by_botocore(ours: dict[str, str], theirs: dict[str, str]) -> None:
    for name in ("authorization", "x-amz-date", "x-amz-security-token", "content-type", "x-amz-target"):
        assert ours.get(name) == theirs.get(name)


@given(targets, regions, all_keys, actions, st.binary(max_size=2000), instants)
def test_a_head_is_signed_as_botocore_signs_it(
    target: Url, region: str, keys: Keys, action: str, body: bytes, now: int
) -> None:
    head = SigV4Signer(target, region).head(keys, action, body, now + 0.9)
    ours = headers_of(head)
    assert_signed_as_by_botocore(ours, by_botocore(target, region, keys, action, body, now))
    assert ours["host"] == target.host_header
    assert ours["content-length"] == str(len(body))
    assert head.startswith(f"POST {target.path} HTTP/1.1\r\n".encode())


@given(st.lists(st.tuples(st.sampled_from([KEYS, Keys("A", "B"), Keys("A", "C")]), actions, instants), max_size=8))
def test_what_a_signer_keeps_from_one_call_never_shows_in_another(calls: list[tuple[Keys, str, int]]) -> None:
    target = read_url("https://sqs.eu-west-1.amazonaws.com")
    signer = SigV4Signer(target, "eu-west-1")
    for keys, action, now in calls:
        ours = headers_of(signer.head(keys, action, b"{}", now))
        assert_signed_as_by_botocore(ours, by_botocore(target, "eu-west-1", keys, action, b"{}", now))


def test_a_signer_that_lives_over_midnight_signs_with_the_new_day() -> None:
    target = read_url("http://127.0.0.1:4566")
    signer = SigV4Signer(target, "us-east-1")
    for now in range(MIDNIGHT - 3, MIDNIGHT + 3):
        ours = headers_of(signer.head(KEYS, "ReceiveMessage", b"{}", now))
        assert_signed_as_by_botocore(ours, by_botocore(target, "us-east-1", KEYS, "ReceiveMessage", b"{}", now))


def test_without_a_session_token_no_header_for_one_is_sent() -> None:
    signer = SigV4Signer(read_url("https://sqs.eu-west-1.amazonaws.com"), "eu-west-1")
    head = signer.head(Keys("A", "B"), "ReceiveMessage", b"{}", MIDNIGHT)
    assert b"security-token" not in head.lower()


@pytest.mark.parametrize("body", [b"", b'{"Body":"\xf0\x9f\x92\xa9"}', bytes(1 << 20)], ids=["empty", "text", "1 MiB"])
def test_any_body_is_signed_by_its_bytes(body: bytes) -> None:
    target = read_url("https://sqs.eu-west-1.amazonaws.com")
    ours = headers_of(SigV4Signer(target, "eu-west-1").head(KEYS, "SendMessageBatch", body, MIDNIGHT))
    assert_signed_as_by_botocore(ours, by_botocore(target, "eu-west-1", KEYS, "SendMessageBatch", body, MIDNIGHT))


def test_the_same_request_within_a_second_is_signed_once_and_any_other_anew() -> None:
    signer = SigV4Signer(read_url("https://sqs.eu-west-1.amazonaws.com"), "eu-west-1")
    body = b'{"QueueUrl":"a"}'
    head = signer.head(KEYS, "ReceiveMessage", body, 1000.1)
    assert signer.head(KEYS, "ReceiveMessage", body, 1000.9) is head
    others = [
        signer.head(KEYS, "DeleteMessageBatch", body, 1000.9),
        signer.head(KEYS, "ReceiveMessage", b'{"QueueUrl":"b"}', 1000.9),
        signer.head(KEYS, "ReceiveMessage", body, 1001.0),
        signer.head(Keys("A", "B"), "ReceiveMessage", body, 1001.0),
    ]
    assert len({head, *others}) == 5
