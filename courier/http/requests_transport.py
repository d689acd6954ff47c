"""``--transport requests``: the same as the native session, over requests and a pool of urllib3 in threads."""

from __future__ import annotations

import asyncio
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import requests
import structlog
import urllib3.exceptions

from courier.http.answer import CANCELLED, CONNECT_TIMEOUT, PROTOCOL, TIMEOUT, Answer, Failure
from courier.http.exchange import Done, Exchange
from courier.http.guard import AddressGuard
from courier.http.head import HeadTemplate
from courier.http.limits import Limits
from courier.http.requests_attempt import Attempt, Lookup, NoAnswer, Rules, look_up
from courier.http.requests_connection import Adapter, work_on
from courier.http.requests_environment import proxy_for
from courier.http.requests_errors import told
from courier.http.requests_message import prepare, read_answer
from courier.http.target import Target
from courier.http.tls import client_context

_TICK: Final = 0.05
_IDLE_TICK: Final = 1.0

_monotonic = time.monotonic
_log = structlog.get_logger("courier.http")


class RequestsTransport:
    """Sends each request from a thread; in all else the rules are those of :class:`courier.http.session.Session`.

    It belongs to one event loop: ``send`` is called, and calls back, there. ``threads`` is how many requests may be
    under way; more wait for a thread, at the expense of their deadline. A name is resolved for each connection.

    It goes through the proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name for the target, but never with
    a ``guard``: a proxy connects to addresses that the guard doesn't get to see.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        target: Target,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        *,
        guard: AddressGuard | None = None,
        threads: int = 16,
        lookup: Lookup = look_up,
    ) -> None:
        self.loop = loop
        self.limits = limits or Limits()
        self._rules = Rules(target, self.limits, guard, lookup)
        self._target = target
        proxy = proxy_for(target) if guard is None else None
        self._proxies = {} if proxy is None else {target.scheme: proxy.url}
        self._session = _Session()
        # All that it would read of the environment has been; it reads passwords from ~/.netrc, too.
        self._session.trust_env = False
        context = (tls or client_context()) if target.scheme == "https" else None
        self._session.mount(f"{target.scheme}://", Adapter(threads, context))
        self._threads = ThreadPoolExecutor(threads, "delivery")
        self._under_way: set[_Errand] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._attentive = False
        self._closed = False

    def send(self, head: bytes, body: bytes, done: Done, timeout: float | None = None) -> Exchange:
        """Send a request; see :meth:`courier.http.session.Session.send`."""
        return self._start(Attempt(self._rules), head, body, done, self.limits.timeout if timeout is None else timeout)

    def connect(self, done: Done) -> None:
        """Open a connection and keep it idle: ``done`` gets an Answer of status 0 where it stands, else the Failure."""
        head = HeadTemplate("POST", self._target).render(0)
        self._start(Attempt(self._rules, only_connects=True), head, b"", done, self.limits.timeout)

    def close(self) -> None:
        """Close all connections; requests under way and later ones end as Failure(CANCELLED)."""
        self._closed = True
        for errand in list(self._under_way):
            errand.cancel("the session was closed")
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._session.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def forget(self, errand: _Errand) -> None:
        """Leave out an errand that has ended."""
        self._under_way.discard(errand)

    # In the thread of an attempt.

    def _answer(self, attempt: Attempt, exchange: Exchange) -> Answer | Failure:
        work_on(attempt)
        attempt.awaits = ""
        request = prepare(self._target, exchange.head, exchange.body)
        try:
            try:
                response = self._post(request)
            except NoAnswer as error:
                if not error.stale:
                    raise
                attempt.wants_a_fresh_one = True
                response = self._post(request)
            return read_answer(response, attempt, self.limits.answer_cap, _monotonic() - exchange.started)
        except NoAnswer as error:
            return Failure(error.reason, str(error), _monotonic() - exchange.started)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            return Failure(*told(error), _monotonic() - exchange.started)

    def _post(self, request: requests.PreparedRequest) -> requests.Response:
        timeouts = (self.limits.connect_timeout, self.limits.timeout)
        return self._session.send(
            request, stream=True, timeout=timeouts, proxies=self._proxies, verify=True, cert=None, allow_redirects=False
        )

    # In the loop.

    def _start(self, attempt: Attempt, head: bytes, body: bytes, done: Done, timeout: float) -> Exchange:
        now = _monotonic()
        exchange = Exchange(head, body, done, now, now + timeout)
        if self._closed:
            self.loop.call_soon(exchange.fail, CANCELLED, "the session is closed")
            return exchange
        answering = self.loop.run_in_executor(self._threads, self._answer, attempt, exchange)
        errand = _Errand(self, exchange, attempt, answering)
        exchange.connection = errand
        self._under_way.add(errand)
        answering.add_done_callback(errand.answered)
        if not self._attentive:
            self._watch()
        return exchange

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._attentive = True
        self._timer = self.loop.call_later(_TICK, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        self._attentive = True  # this turn decides below, and what is sent in the middle of it needn't ask
        now = _monotonic()
        for errand in list(self._under_way):
            errand.sweep(now)
        for connection in list(self._rules.connections):
            connection.retire(now)
        self._attentive = bool(self._under_way)
        if not self._closed and (self._attentive or self._rules.connections):
            self._timer = self.loop.call_later(_TICK if self._attentive else _IDLE_TICK, self._sweep)


class _Errand:
    """An exchange and the thread that runs it, as the loop sees them."""

    __slots__ = ("_answering", "_attempt", "_exchange", "_transport")

    def __init__(
        self,
        transport: RequestsTransport,
        exchange: Exchange,
        attempt: Attempt,
        answering: asyncio.Future[Answer | Failure],
    ) -> None:
        self._transport = transport
        self._exchange = exchange
        self._attempt = attempt
        self._answering = answering

    def answered(self, answering: asyncio.Future[Answer | Failure]) -> None:
        """Tell the caller, unless it has been told of a failure before."""
        if self._exchange.connection is None:
            return
        self._end()
        error = answering.exception()
        if error is None:
            self._exchange.finish(answering.result())
        else:
            _log.error("a delivery failed in a way that nobody foresaw; it is tried again", exc_info=error)
            self._exchange.fail(PROTOCOL, type(error).__name__)

    def sweep(self, now: float) -> None:
        """Act on the deadlines that have passed; the thread may be held up where it looks at none."""
        attempt, exchange = self._attempt, self._exchange
        if exchange.connection is None:
            return  # the caller of an earlier one closed the session
        waiting = f", still waiting for {attempt.awaits}" if attempt.awaits else ""
        if now >= exchange.deadline:
            self._fail(TIMEOUT, f"no whole answer within {exchange.deadline - exchange.started:g} s{waiting}")
        elif now >= attempt.connect_by:
            limit = self._transport.limits.connect_timeout
            self._fail(CONNECT_TIMEOUT, f"still waiting for {attempt.awaits} after {limit:g} s")

    def cancel(self, detail: str) -> None:
        """Give up; the exchange ends as CANCELLED on the next turn of the loop."""
        self._end()
        self._transport.loop.call_soon(self._exchange.fail, CANCELLED, detail)

    def _fail(self, reason: str, detail: str) -> None:
        self._end()
        self._exchange.fail(reason, detail)

    def _end(self) -> None:
        self._exchange.connection = None
        self._transport.forget(self)
        self._attempt.give_up()
        # Where it still waits for a thread it needs none any more.
        self._answering.cancel()


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """A redirect is an answer; where it leads isn't even looked at."""
