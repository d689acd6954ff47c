"""Advice for the operator: what to do about a failed delivery, by the reason of the failure. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from courier.http import answer
from courier.http.advice import BY_NAME_FAILURE, BY_SHORTAGE
from courier.process.internal_errors import INTERNAL_ERROR
from courier.recipient.batch_reasons import BATCH_REASONS
from courier.recipient.content import NOT_FETCHED, UNSENDABLE

BY_REASON: Final[Mapping[str, str]] = {
    **BY_NAME_FAILURE,
    answer.RESOLVE: "DNS has no such name: correct the host name in --recipient-url, or add it to DNS",
    answer.DENIED: "--deny-private forbids the address; name its network in --allow-cidr if that is intended",
    answer.CONNECT_REFUSED: "start the recipient, or correct the host and port in --recipient-url",
    answer.CONNECT_FAILED: "check the network, firewall and routes between this machine and the recipient",
    answer.CONNECT_TIMEOUT: "check firewalls and security groups between this machine and the recipient",
    answer.TLS: "check the recipient's certificate, --ca-file and --client-cert",
    answer.FIRST_BYTE_TIMEOUT: "the recipient is slower than --timeout; check its load, or raise --timeout",
    answer.TIMEOUT: "the recipient is slower than --timeout; check its load, or raise --timeout",
    answer.RESET: "the recipient closed the connection without an answer; check its log for a crash or a limit",
    answer.PROTOCOL: "the answer isn't valid HTTP/1.1; check the port and scheme in --recipient-url",
    INTERNAL_ERROR: "please report the traceback in the log",
    answer.CANCELLED: "nothing to do: Courier is stopping, and gave up the attempt",
    **BY_SHORTAGE,
    **UNSENDABLE,
    **NOT_FETCHED,
    **BATCH_REASONS,
}

BY_STATUS: Final[Mapping[int, str]] = {
    400: "the recipient finds the request malformed; its answer may say why",
    401: "the recipient refuses the credentials; check --bearer-token-file, --basic-auth-file or --header",
    403: "the recipient knows Courier and denies it access; check its permissions, or the credentials",
    404: "the recipient has nothing at that path; correct --recipient-url",
    405: "the recipient accepts no POST at that path; correct --recipient-url",
    407: "a proxy asks for credentials; put them into the proxy's URL",
    408: "the recipient waited too long for the request; check the network",
    410: "the recipient is gone for good; correct --recipient-url or stop Courier",
    411: "a proxy in front of the recipient doesn't understand the length of the request; check its log",
    413: "the body is larger than the recipient accepts; raise the recipient's limit",
    415: "the recipient doesn't accept this media type; set --content-type",
    421: "the recipient isn't responsible for that host; correct --recipient-url",
    422: "the recipient can't process the content; its answer may say why",
    429: "the recipient receives too many requests; lower --rate-limit or --max-in-flight",
    431: "the request head is larger than the recipient accepts; lower --max-header-bytes",
    500: "check the recipient's log for an error",
    502: "the proxy in front of the recipient can't reach it; check the recipient",
    503: "the recipient is overloaded or down; Courier tries again by itself",
    504: "the recipient is slower than its proxy's time-out; check its load",
}


OTHERWISE: Final = "check the recipient's log; its answer may say why"


def advice(status: int | None, reason: str) -> str:
    """Return what to do about a failure with a status, or with a reason of :data:`courier.http.answer.REASONS`.

    The text is never empty.
    """
    if status is None:
        return BY_REASON.get(reason, OTHERWISE)
    if status in BY_STATUS:
        return BY_STATUS[status]
    if 300 <= status < 400:
        return "redirects aren't followed; set --recipient-url to the final URL"
    return OTHERWISE
