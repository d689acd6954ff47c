"""The variables of simple-sqsd, as options of Courier.

From its source (github.com/fterrag/simple-sqsd, cmd/simplesqsd/simplesqsd.go and supervisor/supervisor.go).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from courier.migration.translation import Translation, Value, whole_number

PROGRAM: Final = "simple-sqsd"
PREFIX: Final = "SQSD_"
TOKEN_FILE: Final = "/etc/courier/token"
SECRET_FILE: Final = "/etc/courier/webhook-secret"

_NUMBERS: Final = {
    "SQSD_QUEUE_MAX_MSGS": ("batch-size", 10),
    "SQSD_HTTP_MAX_CONNS": ("max-in-flight", 25),
    "SQSD_HTTP_TIMEOUT": ("timeout", 15),
}
"""The option of each numeric variable, and simple-sqsd's default, which also takes the place of what is no number."""

_TEXTS: Final = {
    "SQSD_QUEUE_REGION": "region",
    "SQSD_QUEUE_URL": "queue",
    "SQSD_HTTP_URL": "recipient-url",
    "SQSD_HTTP_CONTENT_TYPE": "content-type",
    "SQSD_AWS_ENDPOINT": "endpoint-url",
}

_HEALTH: Final = (
    "no equivalent; Courier needs no health check: while the recipient doesn't answer, it stops receiving and probes "
    "it with one message at a time"
)

_ALONE: Final = "has no effect alone, there as here"

_WITHOUT_EQUIVALENT: Final = {
    "SQSD_HTTP_HEALTH_PATH": _HEALTH,
    "SQSD_HTTP_HEALTH_WAIT": _HEALTH,
    "SQSD_HTTP_HEALTH_INTERVAL": _HEALTH,
    "SQSD_HTTP_HEALTH_SUCCESS_COUNT": _HEALTH,
    "SQSD_SQS_HTTP_TIMEOUT": "no equivalent; Courier gives each call to SQS the time it needs, and calls again",
    "SQSD_CRON_TIMEOUT": "no equivalent; a periodic task is a message like the others, and timeout holds for it too",
}


def translate(variables: Mapping[str, str]) -> Iterator[Translation]:
    """Yield what the variables become, then what simple-sqsd does by default and Courier does in another way."""
    given = {name: value for name, value in variables.items() if value and (name.startswith(PREFIX) or name in _OTHERS)}
    for name, value in given.items():
        yield Translation(name, *_translated(name, value, given))
    for name, (key, default) in _NUMBERS.items():
        if name not in given:
            yield Translation(f"{name}, which isn't set", {key: default}, "the default of simple-sqsd")
    if "SQSD_HTTP_CONTENT_TYPE" not in given:
        note = (
            "simple-sqsd sends no Content-Type, Courier sends application/octet-stream; set content-type to change it"
        )
        yield Translation("SQSD_HTTP_CONTENT_TYPE, which isn't set", {}, note)
    yield Translation(
        "Retries",
        {},
        "simple-sqsd leaves a failed message until its visibility timeout ends; Courier brings it back after a delay "
        "that grows with each receive; for a fixed delay set retry-delay",
    )


def _translated(name: str, value: str, given: Mapping[str, str]) -> tuple[dict[str, Value], str]:
    if name in _TEXTS:
        return {_TEXTS[name]: value}, ""
    if name in _NUMBERS:
        key, default = _NUMBERS[name]
        found = whole_number(value)
        return {key: default if found is None else found}, "" if found is not None else (
            f"not a number, so that simple-sqsd used {default}"
        )
    if name in _WITHOUT_EQUIVALENT:
        return {}, _WITHOUT_EQUIVALENT[name]
    if name in _OTHERS:
        return _OTHERS[name](value, given)
    return {}, "no variable of simple-sqsd that Courier knows; it is left out"


def _wait_time(value: str, _: Mapping[str, str]) -> tuple[dict[str, Value], str]:
    found = whole_number(value)
    if found is None:
        return {}, "not a number, so that simple-sqsd used 10; Courier waits 20 seconds, which costs fewer calls"
    note = "without it, Courier waits 20 seconds, which costs fewer calls" if found < 20 else ""
    return {"wait-time": found}, note


def _user_agent(value: str, _: Mapping[str, str]) -> tuple[dict[str, Value], str]:
    # What stands in braces would be a placeholder.
    return {"header": [f"User-Agent: {value.replace('{', '{{').replace('}', '}}')}"]}, ""


def _hmac_header(_: str, given: Mapping[str, str]) -> tuple[dict[str, Value], str]:
    return {}, "see SQSD_HMAC_SECRET_KEY" if given.get("SQSD_HMAC_SECRET_KEY") else _ALONE


def _hmac_secret(_: str, given: Mapping[str, str]) -> tuple[dict[str, Value], str]:
    if not given.get("SQSD_HTTP_HMAC_HEADER"):
        return {}, _ALONE
    return {}, (
        f"no equivalent; Courier signs by Standard Webhooks: write a secret into {SECRET_FILE}, set "
        f'webhook-secret-file = ["{SECRET_FILE}"], and let the recipient verify webhook-signature'
    )


def _authorization(value: str, given: Mapping[str, str]) -> tuple[dict[str, Value], str]:
    header = given.get("SQSD_HTTP_AUTHORIZATION_HEADER_NAME") or "Authorization"
    scheme = value.partition(" ")[0].lower()
    if header.lower() == "authorization" and scheme == "bearer":
        return {"bearer-token-file": TOKEN_FILE}, "write the token, without the word Bearer, into this file"
    if header.lower() == "authorization" and scheme == "basic":
        return {"basic-auth-file": TOKEN_FILE}, "write user:password, not encoded, into this file"
    return {}, f'the value is a secret and isn\'t repeated here; add header = ["{header}: VALUE"]'


def _authorization_name(_: str, given: Mapping[str, str]) -> tuple[dict[str, Value], str]:
    if given.get("SQSD_HTTP_AUTHORIZATION_HEADER"):
        return {}, "see SQSD_HTTP_AUTHORIZATION_HEADER"
    return {}, _ALONE


def _verify(value: str, _: Mapping[str, str]) -> tuple[dict[str, Value], str]:
    # What Go's ParseBool takes for false; anything else leaves the default, true.
    if value not in ("0", "f", "F", "false", "False", "FALSE"):
        return {}, "Courier always verifies the recipient's certificate"
    return (
        {},
        "no equivalent; Courier verifies every certificate: set ca-file to that of the recipient or its CA",
    )


def _cron_file(value: str, _: Mapping[str, str]) -> tuple[dict[str, Value], str]:
    return {"cron": value}, (
        "Courier puts tasks into the queue, which needs sqs:SendMessage, and delivers them like other messages: at "
        "least once, with retries; several instances share a standard queue only if one of them has this option"
    )


def _cron_endpoint(value: str, given: Mapping[str, str]) -> tuple[dict[str, Value], str]:
    try:
        same = urlsplit(value)[:2] == urlsplit(given.get("SQSD_HTTP_URL", ""))[:2]
    except ValueError:
        same = False
    if same:
        return {}, "not needed; tasks go to the host of recipient-url, to the path in the file"
    return {}, "no equivalent; tasks go to the host of recipient-url, to the path in the file"


def _log_level(value: str, _: Mapping[str, str]) -> tuple[dict[str, Value], str]:
    words = {"trace": "debug", "warn": "warning", "fatal": "error", "panic": "error"}
    return {"log-level": words.get(value.lower(), value.lower()), "log-format": "json"}, ""


_OTHERS: Final[Mapping[str, Callable[[str, Mapping[str, str]], tuple[dict[str, Value], str]]]] = {
    "SQSD_QUEUE_WAIT_TIME": _wait_time,
    "SQSD_HTTP_USER_AGENT": _user_agent,
    "SQSD_HTTP_HMAC_HEADER": _hmac_header,
    "SQSD_HMAC_SECRET_KEY": _hmac_secret,
    "SQSD_HTTP_AUTHORIZATION_HEADER": _authorization,
    "SQSD_HTTP_AUTHORIZATION_HEADER_NAME": _authorization_name,
    "SQSD_HTTP_SSL_VERIFY": _verify,
    "SQSD_CRON_FILE": _cron_file,
    "SQSD_CRON_ENDPOINT": _cron_endpoint,
    "LOG_LEVEL": _log_level,
}

VARIABLES: Final = frozenset({*_NUMBERS, *_TEXTS, *_WITHOUT_EQUIVALENT, *_OTHERS})
"""Every variable that simple-sqsd reads."""
