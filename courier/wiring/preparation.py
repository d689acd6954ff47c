"""The preparation of requests: from a Config to what opens, fetches, decodes, addresses and formats each message.

``courier try`` uses the same function with a transport that only shows, so it shows what would be sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from courier.config.body import DECODE, FETCH, UNWRAP
from courier.config.config import Config
from courier.config.formats import TASK_PATH
from courier.config.loading import environment
from courier.errors import CannotStart
from courier.http.exchange import Transport
from courier.http.head import HeadTemplate
from courier.http.proxy import Proxy
from courier.http.session import Session, SessionLimits
from courier.http.url import Url
from courier.http.url_parsing import read_url
from courier.process.scoreboard import Slot
from courier.request.content import Step
from courier.request.head import DeliveryHead
from courier.request.header_sets import CLOUDEVENTS, NONE, SQSD
from courier.sender.preparation import Preparation
from courier.sqs.environment_proxy import environment_proxy, names_a_proxy

if TYPE_CHECKING:
    from courier.body.unwrap import Unwrap

CERTIFICATE_SECONDS: Final = 10.0
"""Time limit of a request for a certificate of SNS."""

MakeStep: TypeAlias = Callable[[asyncio.AbstractEventLoop, Slot | None], Step]


class MakePreparation(Protocol):
    """Makes the preparation of a sender, in the sender's process. Steps may count in its slot, if it has one."""

    def __call__(
        self, loop: asyncio.AbstractEventLoop, session: Transport, head: DeliveryHead, slot: Slot | None = None
    ) -> Preparation:
        """Return a preparation that sends by the session."""


def preparation_factory(config: Config, queue_name: str, region: str | None = None) -> MakePreparation | None:
    """Return what makes a sender's preparation, in the sender's process; ``None`` if messages are sent as they are.

    ``region`` is that of the queue, where the objects are that messages point to, unless --region says otherwise.
    """
    steps = _steps(config, queue_name, region)
    if not steps:
        return None
    # Imported here and below, before the fork, because few programs prepare what they send.
    from courier.sender.prepared import Prepared

    def make(
        loop: asyncio.AbstractEventLoop, session: Transport, head: DeliveryHead, slot: Slot | None = None
    ) -> Preparation:
        return Prepared(loop, session, head, [make_step(loop, slot) for make_step in steps])

    return make


def _steps(config: Config, queue_name: str, region: str | None) -> list[MakeStep]:
    """Return what makes the steps from a message to what is sent, in their order."""
    makers: dict[str, Callable[[Config], MakeStep]] = {UNWRAP: _unwrap, FETCH: partial(_fetch, region), DECODE: _decode}
    steps = [makers[name](config) for name in config.body_steps]
    if config.is_batched:
        # A batch has no path and no header of a single message.
        return steps
    if config.chosen_path_attribute:
        steps.append(_path(config))
    if config.chosen_path_attribute == TASK_PATH:
        steps.append(_task(config))
    if config.headers == CLOUDEVENTS:
        steps.append(_event(config, queue_name))
    return steps


def _unwrap(config: Config) -> MakeStep:
    from courier.body.unwrap import Unwrap

    own = [*(header.name for header in config.own_headers), *config.attribute_allow]
    unwrap = Unwrap(describes=config.headers != NONE, own=own)
    return _verify(config, unwrap) if config.sns_verify else lambda _, __: unwrap


def _verify(config: Config, unwrap: Unwrap) -> MakeStep:
    from courier.body.certificates import Certificates, HostSession
    from courier.body.verify import Verify

    limits = SessionLimits(connect_timeout=CERTIFICATE_SECONDS / 2, timeout=CERTIFICATE_SECONDS)

    def make(loop: asyncio.AbstractEventLoop, _: Slot | None) -> Step:
        def open_session(host: str) -> HostSession:
            url = read_url(config.sns_endpoint_url or f"https://{host}/")
            session = Session(loop, url, limits, proxy=certificate_proxy(url))
            return HostSession(session, lambda path: HeadTemplate("GET", replace(url, path=path)).render(0))

        return Verify(unwrap, config.sns_topic, Certificates(open_session))

    return make


def certificate_proxy(url: Url) -> Proxy | None:
    """Return the proxy of the environment for a host of AWS that senders ask over TLS."""
    if url.scheme != "https" or not names_a_proxy(environment()):
        return None
    # One that can't be used was refused by the lookup of the queue, unless that has no proxy.
    with contextlib.suppress(CannotStart):
        return environment_proxy(url)
    return None


def _fetch(region: str | None, config: Config) -> MakeStep:
    from courier.wiring.fetching import fetching_step

    return lambda loop, slot: fetching_step(config, loop, region, slot)


def _decode(config: Config) -> MakeStep:
    from courier.body.decode import Decode

    return lambda loop, _: Decode(loop, config.codings, config.decode_attribute, config.body_max_bytes)


def _path(config: Config) -> MakeStep:
    from courier.request.paths import AllowedPaths
    from courier.sender.path_step import path_step

    paths = [task.path for task in config.tasks]
    step = path_step(config.chosen_path_attribute, AllowedPaths(config.path_allow, paths))
    return lambda _, __: step


def _task(config: Config) -> MakeStep:
    from courier.sender.task_step import task_step

    step = task_step([header.name for header in config.own_headers], describes=config.headers == SQSD)
    return lambda _, __: step


def _event(config: Config, queue_name: str) -> MakeStep:
    from courier.request.cloudevents import EventTemplate
    from courier.sender.event_step import event_step

    own = [header.name for header in config.own_headers]
    step = event_step(EventTemplate(config.event_texts, queue_name, own, config.content_type_attribute))
    return lambda _, __: step
