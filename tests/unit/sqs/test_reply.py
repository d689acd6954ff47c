"""The error that a reply becomes shows nothing of the keys that its call was signed with."""

from __future__ import annotations

import json

import pytest

from courier.http.answer import Answer
from courier.sqs.diagnosis import SqsCall, diagnose, not_sqs
from courier.sqs.reply import ErrorReply, SuccessReply, read_reply
from courier.sqs.signer import Keys

KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "FwoGZXIvYXdzEXAMPLE/token/0123456789==")
TOLD = f"authorization of {KEYS.secret_key}, with {KEYS.token}"
CALL = SqsCall("orders", "GetQueueUrl", "us-east-1", "http://sqs.example")

BODIES = {
    "text": TOLD.encode(),
    "a JSON text": json.dumps(TOLD).encode(),
    "escaped slashes": json.dumps(TOLD).replace("/", "\\/").encode(),
    "fields of something else": json.dumps({"told": TOLD}).encode(),
    "the message of an error": json.dumps({"__type": "com.amazonaws.sqs#Odd", "message": TOLD}).encode(),
    "the name of an error": json.dumps({"__type": TOLD, "message": "no"}).encode(),
    "nothing": b"",
}


@pytest.mark.parametrize("status", [200, 302, 400, 403, 503])
@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_whatever_repeats_the_secrets_of_the_keys(status: int, truncated: bool, body: bytes) -> None:
    headers = [(b"x-amzn-query-error", f"{TOLD};Sender".encode())]
    answer = Answer(status, headers, body, truncated, True, 0.0, 0.0)
    reply = read_reply(CALL.action, "queue 'orders' in us-east-1", answer, KEYS)
    if isinstance(reply, SuccessReply):
        error = reply.unreadable(CALL.action)
        line = str(not_sqs(error, CALL))
    else:
        assert isinstance(reply, ErrorReply)
        error = reply.error
        line = str(diagnose(reply, CALL))
    shown = f"{error} {error.code} {error.detail} {line}"
    assert "orders" in line
    for secret in (KEYS.secret_key, KEYS.token):
        assert secret not in shown
        assert secret.replace("/", "\\/") not in shown
