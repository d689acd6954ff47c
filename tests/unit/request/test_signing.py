"""Signatures: the specification's vector, and the libraries of recipients as the judges."""

from __future__ import annotations

import base64
import itertools
import re

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from courier.request.signing import WebhookSigner, parse_secret, parse_secrets

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SEED = "whsk_" + base64.b64encode(bytes(range(32))).decode()
PAIR = "whsk_" + base64.b64encode(bytes(range(32)) + PRIVATE.public_key().public_bytes_raw()).decode()


def fields(lines: bytes) -> dict[str, str]:
    assert lines.endswith(b"\r\n")
    return dict(line.split(": ", 1) for line in lines.decode("ascii").removesuffix("\r\n").split("\r\n"))


def test_the_vector_of_the_specification_is_reproduced() -> None:
    signer = WebhookSigner(parse_secrets(SECRET), clock=lambda: 1614265330.9)
    assert fields(signer.lines(b"msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(body=st.text(), secret=st.binary(min_size=24, max_size=64))
def test_the_standardwebhooks_package_verifies_what_is_signed(body: str, secret: bytes) -> None:
    text = "whsec_" + base64.b64encode(secret).decode()
    told = fields(WebhookSigner(parse_secrets(text)).lines(b"id-1", body.encode()))
    Webhook(text).verify(body, told, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(text).verify(body + "!", told, json_parse=False)


def test_each_of_several_keys_verifies_so_that_they_can_be_rotated() -> None:
    told = fields(WebhookSigner(parse_secrets(f"{SECRET}\n{OTHER}\n\n{SEED}\n")).lines(b"id", b"{}"))
    assert re.fullmatch(r"v1,\S+ v1,\S+ v1a,\S+", told["webhook-signature"])
    for secret in (SECRET, OTHER):
        Webhook(secret).verify("{}", told)


@pytest.mark.parametrize("secret", [SEED, PAIR, SEED.rstrip("=")])
def test_an_ed25519_key_signs_as_its_public_half_verifies(secret: str) -> None:
    told = fields(WebhookSigner([parse_secret(secret)], clock=lambda: 17).lines(b"id", b"body"))
    version, _, signature = told["webhook-signature"].partition(",")
    assert version == "v1a"
    PRIVATE.public_key().verify(base64.b64decode(signature), b"id.17.body")
    with pytest.raises(InvalidSignature):
        PRIVATE.public_key().verify(base64.b64decode(signature), b"id.18.body")


def test_the_id_is_the_same_over_attempts_and_the_timestamp_is_not() -> None:
    clock = itertools.count(100).__next__
    signer = WebhookSigner(parse_secrets(SECRET), clock)
    first, second = (fields(signer.lines(b"id", b"")) for _ in range(2))
    assert first["webhook-id"] == second["webhook-id"]
    assert (first["webhook-timestamp"], second["webhook-timestamp"]) == ("100", "101")
    assert first["webhook-signature"] != second["webhook-signature"]


def test_a_secret_given_twice_signs_once() -> None:
    assert len(parse_secrets(f"{SECRET} {SECRET}")) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("hunter2hunter2hunter2hunter2", "begin with whsec_ or whsk_"),
        ("whsec_aHVudGVyMg==", "24 or more"),
        ("whsec_!!hunter2!!", "isn't base64"),
        ("whsk_" + base64.b64encode(b"hunter2").decode(), "32 or 64"),
        ("whsk_" + base64.b64encode(bytes(64)).decode(), "public half"),
        ("whpk_" + base64.b64encode(bytes(32)).decode(), "public key"),
    ],
)
def test_a_secret_that_is_none_is_refused_and_not_shown(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        parse_secrets(text)
    assert "hunter2" not in str(refused.value)
    assert "aHVudGVyMg" not in str(refused.value)
