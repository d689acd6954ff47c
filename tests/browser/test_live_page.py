"""The live page in Chromium: it shows what happens to a Courier that runs, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from courier.api.events import MOST_STREAMS
from tests.browser.chromium import Tab
from tests.browser.conftest import OpenTab
from tests.browser.shop import TOKEN, Shop
from tests.process.test_api import Api
from tests.process.world import until

pytestmark = pytest.mark.together


def tile(index: int, part: str = "") -> str:
    """The selector of a sender's tile, or of a part of it."""
    return f"#tiles > [data-key='sender {index}'] {part}".strip()


def test_the_numbers_move_while_messages_are_delivered(shop: Shop, open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.wait("() => parseFloat(document.querySelector('#rate').textContent) > 0")
    total = "#flow > [data-key=delivered] small:last-child"
    before = tab.number(total)
    shop.wait_delivered()
    tab.page.wait_for_function(
        "([s, n]) => parseFloat(document.querySelector(s).textContent.replaceAll(',', '')) > n", arg=[total, before]
    )
    tab.wait("() => document.querySelector('[data-chart=rate] path:not(.f)').getAttribute('d').includes('L')")
    assert tab.page.title() == "● orders · Courier"
    assert tab.text("#state") == "ready"
    assert tab.text("#heard") == "live"
    assert tab.page.is_hidden("#say")


def test_the_tile_of_a_killed_sender_turns_and_recovers(shop: Shop, open_tab: OpenTab) -> None:
    tab = open_tab()
    assert tab.page.get_attribute(tile(1), "class") == "ok"
    before = tab.text(tile(1))
    os.kill(shop.courier.pid_of("sender", 1), signal.SIGKILL)
    tab.wait(f"() => document.querySelector(\"{tile(1)}\").className !== 'ok'")
    tab.wait_text(tile(1), "restart")
    tab.wait(f"() => document.querySelector(\"{tile(1)}\").className === 'ok'")
    assert f"pid {shop.courier.pid_of('sender', 1)}" in tab.text(tile(1))
    assert tab.text(tile(1)) != before
    tab.wait_text("#running", "restart")


def test_an_outage_is_explained_and_clears(shop: Shop, open_tab: OpenTab) -> None:
    tab = open_tab()
    shop.fail()
    tab.wait_text("#say", "The recipient fails with 503: the circuit breaker is ")
    tab.wait_text("#say", "“down for maintenance”")
    tab.wait_text("#say", "Nothing else is received meanwhile.")
    tab.wait_text("#breaker", "open")
    assert tab.page.title().startswith("■ ")
    assert tab.text("#state") == "waiting for the recipient"
    assert "the circuit breaker" in tab.text("#news")
    shop.open()
    tab.wait("() => document.querySelector('#say').hidden")
    assert tab.page.title().startswith("● ")
    assert tab.text("#breaker") == "closed"


def test_a_pause_shows_on_a_second_page(shop: Shop, open_tab: OpenTab) -> None:
    tabs = [open_tab(), open_tab("phone")]
    shop.act(act="pause", reason="deploying the recipient")
    try:
        for tab in tabs:
            tab.wait_text("#say", "Paused by ")
            tab.wait_text("#say", "“deploying the recipient”")
            assert tab.page.title() == "⏸ orders · Courier"
            assert tab.text("#state") == "paused"
    finally:
        shop.act(act="resume")
    for tab in tabs:
        tab.wait("() => document.querySelector('#say').hidden")
        assert tab.text("#state") == "ready"


def test_the_page_acts_for_who_has_the_token(shop: Shop, open_tab: OpenTab, request: pytest.FixtureRequest) -> None:
    tab = open_tab()
    request.addfinalizer(partial(shop.act, act="scale", senders=4))
    request.addfinalizer(partial(shop.act, act="resume"))
    # The browser reports the refused request.
    tab.allowed.append("401")
    tab.page.click("text=Pause…")
    tab.page.fill("#why", "deploying")
    tab.page.fill("#token", "another-long-token")
    assert tab.violations() == []
    tab.page.click("#do")
    tab.wait_text("#refused", "The token is wrong")
    tab.page.fill("#token", TOKEN)
    tab.page.keyboard.press("Enter")
    tab.wait_text("#say", "“deploying (from the live page, by 127.0.0.1)”")
    assert tab.page.is_hidden("#ask")
    tab.page.click("text=Resume…")
    assert tab.page.is_hidden("#token"), "it is typed once"
    tab.page.click("#do")
    tab.wait("() => document.querySelector('#say').hidden")
    tab.page.click("[aria-label='One sender more']")
    tab.page.click("#do")
    tab.wait_text(tile(4), "pid ")
    tab.wait_text("#acts", "5 senders")
    tab.page.click("[aria-label='One sender fewer']")
    tab.page.click("#do")
    tab.wait_text("#acts", "4 senders")
    assert TOKEN not in shop.courier.log()


def test_failures_are_filtered_by_reason_and_an_id_is_selected_by_a_click(shop: Shop, open_tab: OpenTab) -> None:
    shop.fail()
    tab = open_tab()
    tab.wait_text("#failures", "503")
    shop.open()
    tab.wait("() => document.querySelectorAll('#chips label').length > 2")
    chip = tab.page.locator("#chips label").last
    reason = str(chip.get_attribute("data-key"))
    chip.click()
    tab.wait(
        f"() => [...document.querySelectorAll('#failures tr')].every(row => row.children[3].textContent === {reason!r})"
    )
    assert tab.page.locator("#failures tr").count() >= 1
    tab.page.click("#failures .id")
    selected = tab.page.evaluate("() => String(getSelection())")
    assert selected == tab.text("#failures .id")
    # The page changes once a second, and mustn't take the selection away.
    before = tab.text("#flow")
    tab.page.wait_for_function("before => document.querySelector('#flow').textContent !== before", arg=before)
    assert tab.page.evaluate("() => String(getSelection())") == selected


def test_a_crosshair_shows_values_to_the_pointer_and_to_the_keyboard(open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.wait("() => document.querySelector('[data-chart=rate] path:not(.f)').getAttribute('d').length > 10")
    chart, label = tab.page.locator("[data-chart=rate]"), "section:has([data-chart=rate]) .span"
    assert tab.text(label) == "5 min"
    chart.hover(position={"x": 10, "y": 10})
    tab.wait_text(label, " ago: ")
    tab.page.mouse.move(5, 5)
    tab.wait_text(label, "5 min")
    chart.focus()
    tab.page.keyboard.press("ArrowLeft")
    tab.wait_text(label, "1 s ago: ")
    assert " /s" in str(chart.get_attribute("aria-valuetext"))
    tab.page.keyboard.press("Escape")
    tab.page.click(label)
    tab.wait_text(label, "1 hour")


def test_nothing_moves_by_itself_where_that_is_asked_for(open_tab: OpenTab) -> None:
    animation = "() => getComputedStyle(document.querySelector('.pulse')).animationName"
    assert open_tab().page.evaluate(animation) == "p"
    assert open_tab(reduced_motion="reduce").page.evaluate(animation) == "none"


def test_a_silent_courier_is_shown_as_such_until_it_speaks_again(shop: Shop, open_tab: OpenTab) -> None:
    tab = open_tab()
    (pid,) = shop.courier.pids("api")
    os.kill(pid, signal.SIGSTOP)
    try:
        tab.wait_text("#say", "No news for")
        assert tab.page.evaluate("() => document.body.className") == "dim"
        assert tab.page.title().startswith("? ")
        assert tab.text("#state") == "unknown"
        # Neither the loss of the stream nor a request without an answer changes that.
        tab.page.evaluate(
            """() => {
              window.changes = 0;
              new MutationObserver(() => window.changes++).observe(document.body, {attributes: true});
            }"""
        )
        tab.wait("() => parseFloat(document.querySelector('#heard').textContent) > 8")
        assert tab.page.evaluate("() => window.changes") == 0
        assert "ago" in tab.text("#heard")
    finally:
        os.kill(pid, signal.SIGCONT)
    tab.wait("() => document.querySelector('#say').hidden && document.body.className === ''")
    assert tab.page.title().startswith("● ")


def test_a_hidden_page_closes_its_stream_and_opens_one_when_it_is_seen(shop: Shop, open_tab: OpenTab) -> None:
    tab = open_tab()

    def streams() -> int:
        code, body = Api(shop.courier).get("/status")
        assert code == 200
        return int(body.partition(b'"streams":')[2].partition(b",")[0].rstrip(b"}"))

    def hide(hidden: bool) -> None:
        tab.page.evaluate(
            """hidden => {
              Object.defineProperty(document, "hidden", {get: () => hidden, configurable: true});
              document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )

    until(lambda: streams() == 1)
    hide(True)
    until(lambda: streams() == 0)
    hide(False)
    until(lambda: streams() == 1)
    tab.wait_text("#heard", "live")


def test_a_page_that_gets_no_stream_asks_for_the_status(shop: Shop, open_tab: OpenTab) -> None:
    parts = urlsplit(shop.url)
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_STREAMS):
            client = stack.enter_context(socket.create_connection((str(parts.hostname), int(parts.port or 0)), 10))
            client.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.1 200 OK"
        tab = open_tab()
        # The browser reports the refused stream.
        tab.allowed.append("503")
        tab.wait_text("#heard", "live, every 2 s")
        before = tab.text("#flow")
        tab.page.wait_for_function("before => document.querySelector('#flow').textContent !== before", arg=before)


def test_any_field_may_be_missing(shop: Shop, open_tab: OpenTab) -> None:
    """An older API doesn't have all the fields, and a newer one may call things otherwise."""
    code, body = Api(shop.courier).get("/status")
    assert code == 200
    status = json.loads(body)
    told = [status, {}, *({k: v for k, v in status.items() if k != name} for name in status)]
    told += [status | {name: None} for name in status]
    told += [status | {"workers": [{}]}, status | {"failures": [{}]}, status | {"breaker": {"history": [{}]}}]
    told += [status | {"dead_letters": [{}], "configuration": [{}]}, status | {"state": "new", "reasons": ["new"]}]
    # The version is that of the page; another one makes it load anew.
    events = "".join(f"event: status\ndata: {json.dumps(each | {'version': status['version']})}\n\n" for each in told)
    tab = open_tab()
    tab.page.route("**/events", lambda route: route.fulfill(content_type="text/event-stream", body=events))
    tab.load()
    tab.wait_text("#state", "ready")
    tab.wait_text("#heard", "live, every 2 s")


def status_of(shop: Shop) -> dict[str, Any]:
    """Return what /status says now."""
    code, body = Api(shop.courier).get("/status")
    assert code == 200
    found: dict[str, Any] = json.loads(body)
    return found


def tab_that_is_told(open_tab: OpenTab, *told: dict[str, Any]) -> Tab:
    """Open a page that gets these statuses, and the last one for good."""
    events = "".join(f"event: status\ndata: {json.dumps(each)}\n\n" for each in told)
    tab = open_tab()
    tab.page.route("**/events", lambda route: route.fulfill(content_type="text/event-stream", body=events))
    tab.page.route("**/status", lambda route: route.fulfill(json=told[-1]))
    return tab.load()


PAUSE = {"by": "root (uid 0, pid 1)", "reason": "deploying", "since": 1764150000.0, "seconds": 3.0}
SPOT = {"notice": "spot", "reason": "EC2 reclaims the spot instance", "drains": True, "seconds_left": 118.0}
HALF_OPEN = {"state": "half-open", "faults_in_a_row": 0, "openings": 0, "history": []}


@pytest.mark.parametrize(
    ("changes", "word", "mark", "findings"),
    [
        # Until the first delivery nobody knows the recipient, so that nothing waits for it.
        ({"breaker": HALF_OPEN}, "ready", "●", 0),
        ({"breaker": HALF_OPEN | {"openings": 1}}, "waiting for the recipient", "■", 1),
        ({"breaker": HALF_OPEN | {"openings": 1}, "pause": PAUSE}, "paused", "⏸", 2),
        ({"state": "draining", "reasons": ["draining"], "pause": PAUSE}, "draining", "◆", 2),
        ({"state": "not ready", "reasons": ["no auditor running"], "pause": PAUSE}, "not ready, paused", "■", 2),
        ({"state": "draining", "reasons": ["draining"], "leaving": SPOT}, "draining", "◆", 2),
        ({"leaving": SPOT | {"drains": False, "seconds_left": None}}, "ready", "●", 1),
    ],
)
def test_the_worst_of_several_states_is_shown_first(
    changes: dict[str, Any], word: str, mark: str, findings: int, shop: Shop, open_tab: OpenTab
) -> None:
    calm: dict[str, Any] = {"state": "ready", "reasons": [], "advice": [], "pause": None, "paused_seconds": 0}
    tab = tab_that_is_told(open_tab, status_of(shop) | calm | changes)
    tab.wait_text("#state", word)
    assert tab.text("#state") == word
    assert tab.page.title().startswith(mark)
    assert tab.page.locator("#say > p").count() == findings


def test_two_reasons_of_one_kind_stay_two(shop: Shop, open_tab: OpenTab) -> None:
    """SQS that can't be reached is a reason for receiving and another one for deleting."""
    calls = [f"queue unreachable: {call}: network" for call in ("receive", "delete")]
    status = status_of(shop) | {"state": "not ready", "reasons": calls, "advice": ["check DNS"] * 2, "pause": None}
    status |= {"breaker": HALF_OPEN, "paused_seconds": 0}
    tab = tab_that_is_told(open_tab, *[status] * 6)
    tab.wait_text("#say", "Receive: network")
    assert tab.page.locator("#say > p").count() == 2
    assert "Delete: network" in tab.text("#say")


def test_the_charts_go_on_after_the_clock_is_set_back(shop: Shop, open_tab: OpenTab) -> None:
    status = status_of(shop)
    rates = {window: found | {"delivered": 4321.0} for window, found in status["rates"].items()}
    earlier = status | {"now": status["now"] - 3600, "rates": rates}
    tab = tab_that_is_told(open_tab, status, earlier)
    tab.page.wait_for_function(
        "() => document.querySelector('[data-chart=rate]').getAttribute('aria-valuetext').startsWith('now 4,321')"
    )


def test_each_route_is_shown_and_the_one_that_is_down_is_named(shop: Shop, open_tab: OpenTab) -> None:
    totals = {"delivered": 1200, "retried": 3, "rejected": 0, "hidden": 45}
    route = {"name": "default", "breaker": "closed", "in_flight": 2, "limit": 16, "totals": totals}
    down = route | {"name": "orders", "breaker": "open", "limit": 0, "totals": {}}
    status = status_of(shop) | {"state": "ready", "reasons": [], "advice": [], "pause": None, "routes": [route, down]}
    worker = next(each for each in status["workers"] if each["role"] == "sender")
    status["workers"] = [*status["workers"], worker | {"role": "sender:orders", "index": 0}]
    status["breaker"] = HALF_OPEN | {"state": "open", "openings": 1}
    tab = tab_that_is_told(open_tab, status)
    tab.wait_text("#routes", "default: closed · 2 of 16 in flight · 1,200 delivered · 3 retried · 45 hidden")
    assert "orders: open" in tab.text("#routes")
    tab.wait_text("#say", "Messages of orders are hidden for a while; the other routes go on.")
    # A sender of a route stands with the senders, and shows its load as they do.
    names = [each.split(" ")[0] for each in tab.page.locator("#tiles h3").all_inner_texts()]
    assert names.index("auditor") > names.index("sender:orders") > names.index("sender")
    assert tab.page.locator("#tiles > [data-key='sender:orders 0'] svg").count() == 1
