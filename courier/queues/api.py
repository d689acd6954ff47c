"""The API of several queues, as a role of the first process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from courier.api.about import About
from courier.api.observed import API
from courier.board.queue_names import read_names
from courier.config.config import Config
from courier.config.sources import settings
from courier.control_client import ask
from courier.process.life import Life, Role, RoleFactory
from courier.queues.served import ServedQueue
from courier.wiring.control import control_path
from courier.wiring.page import page_token

if TYPE_CHECKING:
    from courier.api.page_control import PageControl
    from courier.api.server import Served


def api_of_queues(config: Config, queues: Sequence[ServedQueue]) -> RoleFactory:
    """Return the factory of the API, which serves each queue as a program of one queue is served, and their sum.

    The options of the whole program are those of ``config``. There may be no queue left.
    """
    # Imported here, before the fork: --api none needs none of it.
    from courier.api.page.document import document
    from courier.api.server import Page, Where, build_served, serve
    from courier.api.several import QueueApi, build_root

    assert config.api_address is not None
    where = Where(*config.api_address, config.api_host)
    text = document() if config.page == "auto" else None

    async def make(life: Life) -> Role:
        found: list[QueueApi] = []
        for queue in queues:
            page = Page(text, _page_control(config, queue.name)) if text else None
            observed, shown = queue.observed(), queue.config.summary()
            slot = queue.board.slots(API)[0]
            found.append(QueueApi(queue.name, observed, build_served(observed, shown, slot, page, _about(queue))))
        names = [(queue, each.served) for queue, each in zip(queues, found, strict=True)]
        app = build_root(life.board, found, has_page=text is not None)
        return await serve(life, app, [each.served for each in found], where, partial(_name_queues, names))

    return make


def _about(queue: ServedQueue) -> About:
    config, socket = queue.config, control_path(queue.config)
    return About(
        queue=config.queue.rpartition("/")[2] if config.queue_type != "nop" else "",
        failure_queue=config.failure_queue.rpartition("/")[2],
        configuration=[setting._asdict() for setting in settings(config, config.sources)],
        control=str(socket) if socket else None,
        page_control=config.page_control is not None,
    )


def _name_queues(served: Sequence[tuple[ServedQueue, Served]]) -> None:
    """Take over the names that a queue's supervisor has found out."""
    for queue, each in served:
        if (names := read_names(queue.board)) is not None:
            each.status.name_queues(*names)


def _page_control(config: Config, name: str) -> PageControl | None:
    """Return the acts of the page of one queue, ``None`` for none."""
    token, path = page_token(config), control_path(config)
    if token is None or path is None:
        return None
    from courier.api.page_control import PageControl

    def ask_about(fields: Mapping[str, Any]) -> dict[str, Any]:
        return ask(path, {**fields, "queue": name})

    return PageControl(token, ask_about)
