"""``--transport requests``: the same as the native session, over requests.Session in threads."""

from __future__ import annotations

import asyncio
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final, cast

import requests
import structlog
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError

from courier.http.answer import CANCELLED, NO_THREADS, PROTOCOL, Answer, Failure, NoAnswer
from courier.http.exchange import Done, Exchange
from courier.http.file_body import Body
from courier.http.guard import AddressGuard
from courier.http.head import HeadTemplate
from courier.http.limits import SessionLimits
from courier.http.requests.attempt import Attempt, Lookup, Shared, resolve_host
from courier.http.requests.connection import Adapter, set_current_attempt
from courier.http.requests.conversation import Stale
from courier.http.requests.environment import proxy_for
from courier.http.tls import client_context
from courier.http.url import Url
from courier.log.recurring import RecurringLine

_TICK: Final = 0.05
_IDLE_TICK: Final = 1.0

_monotonic = time.monotonic
_log = structlog.get_logger("courier.http")


class RequestsTransport:
    """Sends each request from a thread; otherwise the rules are those of :class:`courier.http.session.Session`.

    It belongs to one event loop, in which ``send`` is called and calls back. At most ``threads`` requests are under
    way; others wait for a thread, at the expense of their deadline. It resolves the name for each connection.

    It uses the proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name for the target, but never with a
    ``guard``: a proxy connects to addresses that the guard doesn't see.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        url: Url,
        limits: SessionLimits | None = None,
        tls: ssl.SSLContext | None = None,
        *,
        guard: AddressGuard | None = None,
        threads: int = 16,
        lookup: Lookup = resolve_host,
    ) -> None:
        self.loop = loop
        unforeseen = RecurringLine(_log, "error", "a delivery failed unexpectedly; it is tried again")
        self._shared = Shared(loop, url, limits or SessionLimits(), guard, lookup, unforeseen)
        proxy = proxy_for(url) if guard is None else None
        context = (tls or client_context()) if url.scheme == "https" else None
        self._adapter = Adapter(url, proxy and proxy.url, context)
        self._session = _Session()
        # Otherwise it reads the variables again, and passwords from ~/.netrc.
        self._session.trust_env = False
        self._session.proxies = {} if proxy is None else {url.scheme: proxy.url}
        self._session.stream = True
        self._session.mount(f"{url.scheme}://", self._adapter)
        self._threads = ThreadPoolExecutor(threads, "delivery")
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def send(self, head: bytes, body: Body, done: Done, timeout: float | None = None) -> Exchange:
        """Send a request; see :meth:`courier.http.session.Session.send`."""
        return self._start(head, body, done, timeout)

    def connect(self, done: Done) -> None:
        """Open a connection and keep it idle: ``done`` gets an Answer of status 0, or the Failure."""
        self._start(HeadTemplate("POST", self._shared.url).render(0), b"", done, only_connects=True)

    def close(self) -> None:
        """Close all connections; requests under way and later ones end as Failure(CANCELLED)."""
        self._closed = True
        for attempt in list(self._shared.under_way):
            attempt.cancel("the session was closed")
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._session.close()
        if self._timer is not None:
            self._timer.cancel()

    # In the thread of an attempt.

    def _answer(self, attempt: Attempt) -> Answer | Failure:
        set_current_attempt(attempt)
        attempt.awaits = ""
        exchange = attempt.exchange
        request = _prepare(self._shared.url, exchange.head, exchange.body)
        try:
            try:
                response = self._session.send(request, allow_redirects=False)
            except Stale:
                attempt.needs_fresh_connection = True
                response = self._session.send(request, allow_redirects=False)
            return _read_answer(response, attempt)
        except NoAnswer as error:
            return Failure(error.reason, str(error), _monotonic() - exchange.started)
        except (requests.RequestException, HTTPError) as error:
            # Without its text, which may quote the URL. Only a pool that was closed meanwhile raises one.
            return Failure(PROTOCOL, type(error).__name__, _monotonic() - exchange.started)

    # In the loop.

    def _start(
        self, head: bytes, body: Body, done: Done, timeout: float | None = None, *, only_connects: bool = False
    ) -> Exchange:
        now = _monotonic()
        exchange = Exchange(head, body, done, now, now + (self._shared.limits.timeout if timeout is None else timeout))
        if self._closed:
            self.loop.call_soon(exchange.fail, CANCELLED, "the session is closed")
            return exchange
        attempt = Attempt(self._shared, exchange, only_connects=only_connects)
        try:
            attempt.start(self.loop.run_in_executor(self._threads, self._answer, attempt))
        except RuntimeError as error:
            # The pool has queued the attempt all the same: a thread that comes later must not send it.
            attempt.abandon()
            self.loop.call_soon(exchange.fail, NO_THREADS, str(error))
            return exchange
        if self._timer is None or self._timer.when() > self.loop.time() + _TICK:
            self._sweep_in(_TICK)
        return exchange

    def _sweep_in(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(delay, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = _monotonic()
        for attempt in list(self._shared.under_way):
            attempt.sweep(now)
        self._adapter.idle.close_unusable()
        if not self._closed:
            self._sweep_in(_TICK if self._shared.under_way else _IDLE_TICK)


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Ignore the target of a redirect, which is an answer like any other."""


def _prepare(url: Url, head: bytes, body: Body) -> requests.PreparedRequest:
    """Return the request of a head that :class:`courier.http.head.HeadTemplate` rendered, and its body.

    The requests library keeps each header once: headers of one name become a list, which means the same (RFC 9110,
    section 5.3).
    """
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    request = requests.PreparedRequest()
    request.method, path, _ = first.split(" ")
    request.url = f"{url.scheme}://{url.host_header}{path}"
    request.headers = CaseInsensitiveDict()
    for line in lines:
        name, _, value = line.partition(": ")
        request.headers[name] = f"{request.headers[name]}, {value}" if name in request.headers else value
    request.body = cast("bytes", body)
    return request


def _read_answer(response: requests.Response, attempt: Attempt) -> Answer:
    """Return the answer in a response, and its connection to the pool. Raises what urllib3 raises."""
    raw, cap = response.raw, attempt.shared.limits.answer_cap
    # Not response.content, which would unpack a packed body to any size.
    body = raw.read(cap + 1, decode_content=False)
    truncated = attempt.truncated or len(body) > cap
    if truncated:
        raw.close()
    raw.release_conn()
    return Answer(
        response.status_code,
        [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in raw.headers.items()],
        body[:cap],
        truncated,
        attempt.written,
        attempt.first_byte_at or time.clock_gettime(time.CLOCK_BOOTTIME),
        _monotonic() - attempt.exchange.started,
    )
