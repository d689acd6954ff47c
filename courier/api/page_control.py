"""Acts from the live page: pause, resume, probe and scale, for who has the token of ``--page-control``.

A web page that somebody on this machine visits may send requests here too, and a browser would add whatever it knows.
So an act needs the token, which no browser keeps, in a header that other sites can't set, from a page of this origin.
The acts themselves are those of the control socket, so the supervisor checks and logs them as it does there.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from courier.control_client import Unreachable
from courier.http.secret_file import SecretFile
from courier.log.recurring import RecurringLine

ACTS: Final[Mapping[str, frozenset[str]]] = {
    "pause": frozenset({"reason"}),
    "resume": frozenset({"reason"}),
    "probe": frozenset({"reason"}),
    "scale": frozenset({"reason", "senders"}),
}
"""The acts that the page offers, and the fields of each."""

LONGEST_REASON: Final = 120
"""Maximum characters of a reason."""

WRONG_TOKEN_SECONDS: Final = 1.0
"""Seconds until the answer to a wrong token."""

Ask = Callable[[Mapping[str, Any]], dict[str, Any]]

log = structlog.get_logger("courier.api")


class PageControl:
    """The route for acts. One act is done at a time."""

    def __init__(self, token: SecretFile[str], ask: Ask) -> None:
        """``ask`` sends a request to the control socket and returns the answer; it may block, and raise Unreachable."""
        self._token = token
        self._ask = ask
        self._one_act = asyncio.Lock()
        self._refused = RecurringLine(log, "warning", "refused an act from the live page")

    async def act(self, request: Request) -> Response:
        """Do an act, and return the answer of the control socket; raise HTTPException if it isn't allowed."""
        check_origin(request.headers)
        await self._check_token(request)
        fields = parse_act(request.headers.get("content-type", ""), await request.body())
        client = request.client.host if request.client else "an unknown address"
        reason, name = fields.get("reason", ""), fields["act"]
        if name == "pause":
            # The control socket knows only the process that connects, which is the API.
            fields["reason"] = f"{reason} (from the live page, by {client})".strip()
        else:
            fields.pop("reason", None)
        log.info("act from the live page", act=name, client=client, reason=reason or "none given")
        async with self._one_act:
            try:
                answer = await asyncio.get_running_loop().run_in_executor(None, self._ask, fields)
            except Unreachable as error:
                raise HTTPException(503, str(error)) from None
        return JSONResponse(answer, 200 if answer.get("ok") else 409)

    async def _check_token(self, request: Request) -> None:
        self._token.refresh()
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self._token.value.encode())
        if scheme.lower() == "bearer" and right:
            return
        self._refused(
            None,
            reason="wrong token",
            advice="type the token of --page-control; if nobody here tried to, find out who can connect to --api",
        )
        await asyncio.sleep(WRONG_TOKEN_SECONDS)
        raise HTTPException(401, "the token is wrong", {"WWW-Authenticate": "Bearer"})


def check_origin(headers: Mapping[str, str]) -> None:
    """Raise HTTPException unless a request comes from a page of this origin, as the browser says."""
    origin, host = headers.get("origin", "").lower(), headers.get("host", "").lower()
    # A proxy in front may add TLS.
    is_same = bool(host) and origin in (f"http://{host}", f"https://{host}")
    # Browsers send this header only to https and to loopback.
    if not is_same or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "only the live page of this address may act; use the command line instead")


def parse_act(content_type: str, body: bytes) -> dict[str, Any]:
    """Return the fields of an act; raise HTTPException if the request is none."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "an act is JSON, with Content-Type: application/json")
    try:
        fields = orjson.loads(body)
    except ValueError:
        raise HTTPException(400, "this is not JSON") from None
    name = fields.get("act") if isinstance(fields, dict) else None
    if not isinstance(name, str) or name not in ACTS or not fields.keys() <= ACTS[name] | {"act"}:
        raise HTTPException(400, f"the acts of the page are {', '.join(ACTS)}")
    reason = fields.get("reason", "")
    if not isinstance(reason, str) or len(reason) > LONGEST_REASON:
        raise HTTPException(400, f"a reason is a text of at most {LONGEST_REASON} characters")
    if "senders" in fields and type(fields["senders"]) is not int:
        raise HTTPException(400, "senders must be a whole number")
    return {**fields, "reason": reason}
