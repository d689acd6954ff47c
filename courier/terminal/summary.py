"""The text of ``courier status``: whether it is well, and if not, why and what to do, in at most 25 lines."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

from courier.terminal.report import Report, printable
from courier.terminal.texts import DASH, count, duration, plural, rate, seconds, size

MOST_REASONS: Final = 4
MOST_FAILURES: Final = 4
WINDOWS: Final = ("10s", "60s")
ROLES: Final = ("consumer", "sender", "auditor", "queue", "scheduler", "watcher", "api", "supervisor")
"""The roles in the order in which a message meets them. All but the first two have one process."""

MOST_ROUTES: Final = 16
MOST_QUEUES: Final = 64

_TITLE_WIDTH: Final = 11


def kind_of(role: str) -> str:
    """Return what the workers of a role do: those of a route, such as ``sender:orders``, are senders."""
    return role.partition(":")[0]


def place_of(role: str) -> int:
    """Return the place of a role in the order of :data:`ROLES`."""
    kind = kind_of(role)
    return ROLES.index(kind) if kind in ROLES else len(ROLES)


def summary(report: Report) -> list[str]:
    """Return the lines about the program that gave this answer of /status."""
    lines = [header(report)]
    lines += (line for reason, advice in reasons(report) for line in (f"  ! {reason}", f"    {advice}") if line.strip())
    if hidden := len(report.texts("reasons")) - MOST_REASONS:
        lines += [f"  ! {plural(hidden, 'more reason')}"] if hidden > 0 else []
    if queues := report.at("queues"):
        return [*lines, *(f"  {line}" for line in _of_queues(queues))]
    sections = {
        "leaving": list(filter(None, [leaving_text(report)])),
        "paused": list(filter(None, [pause_text(report)])),
        "rates": _rates(report),
        "latency": _latency(report),
        "queue": _queue(report),
        "recipient": _recipient(report),
        "inside": _inside(report),
        "processes": [processes(report)],
        "failures": _failures(report),
    }
    for title, texts in sections.items():
        shown = (title, *[""] * len(texts))
        lines += (f"{name:<{_TITLE_WIDTH}}{text}".rstrip() for name, text in zip(shown, texts, strict=False) if text)
    return lines


def header(report: Report) -> str:
    """Return which Courier this is: its queue, recipient, state, uptime, version and host."""
    queues = report.value("queues")
    what = plural(len(queues), "queue") if isinstance(queues, dict) and queues else flow(report)
    facts = [
        f"up {duration(report.number('uptime_seconds'))}",
        report.text("version"),
        report.text("host"),
    ]
    return f"{what}   {state(report)}   {' · '.join(filter(None, facts))}"


def flow(report: Report) -> str:
    """Return where the messages come from and go to."""
    queue = report.text("queue", "name") or report.text("settings", "queue").rpartition("/")[2]
    return f"{queue or 'queue'} → {report.text('settings', 'recipient_url') or 'recipient'}"


def state(report: Report) -> str:
    """Return the state in words: that of /status, and whether it waits although it is ready."""
    word = report.text("state") or "state unknown"
    if word == "ready" and report.at("pause"):
        return "ready, paused"
    if word == "ready" and (is_stopped(report) or (report.number("paused_seconds") or 0) > 0):
        return "ready, waiting"
    return word


def breaker_state(report: Report) -> str:
    """Return the state of the circuit breaker; closed if the answer doesn't say."""
    return report.text("breaker", "state") or "closed"


def is_stopped(report: Report) -> bool:
    """Return whether the circuit breaker stops receiving; until the first delivery it is half-open, and doesn't."""
    word = breaker_state(report)
    return word == "open" or (word != "closed" and report.count("breaker", "openings") > 0)


def reasons(report: Report) -> list[tuple[str, str]]:
    """Return why the program isn't ready, and what to do about each, at most four."""
    given = report.texts("reasons")[:MOST_REASONS]
    advice = report.texts("advice")
    return [(reason, advice[place] if place < len(advice) else "") for place, reason in enumerate(given)]


def waiting(report: Report) -> list[str]:
    """Return why nothing is received although the program is ready, one line a cause, with what happens next."""
    found = []
    if text := pause_text(report):
        found.append(f"paused {text}")
    if breaker_state(report) == "open":
        faults, probe = report.count("breaker", "faults_in_a_row"), report.number("breaker", "next_probe_seconds")
        last = report.each("failures")[:1]
        why = f": {last[0].text('reason')}" if last else ""
        shut = [each.text("name") for each in report.each("routes") if each.text("breaker") == "open"]
        of = f" of {', '.join(shut)}" if shut else ""
        meanwhile = "its messages are hidden, the others go on" if shut else "nothing is received meanwhile"
        text = f"the circuit breaker{of} is open{why}, {plural(faults, 'failure')} in a row; {meanwhile}"
        found.append(f"{text}; next probe in {duration(probe)}")
    elif is_stopped(report):
        found.append("the circuit breaker is half-open; one message after another shows whether the recipient is back")
    if (paused := report.number("paused_seconds") or 0) > 0:
        found.append(f"the recipient asked us to wait (Retry-After), {duration(paused)} more")
    return found


def _of_queues(queues: Report) -> list[str]:
    """Return a line for each of several queues, by the names of their tables."""
    names = [printable(name) for name in list(queues.value() or ())[:MOST_QUEUES]]
    width = max(map(len, names), default=0)
    lines = []
    for name in names:
        found = queues.at(name)
        facts = [
            state(found),
            f"{rate(found.number('rates', '10s', 'delivered'))} delivered a second",
            f"{count(found.number('totals', 'delivered'))} in all",
            f"{count(found.number('queue', 'waiting'))} waiting",
            f"{count(found.number('in_flight'))} in flight",
        ]
        if (breaker := found.text("breaker", "state")) not in ("", "closed"):
            facts.append(f"circuit breaker {breaker}")
        lines.append(f"{name:<{width}}  {' · '.join(facts)}")
    return lines


def leaving_text(report: Report) -> str:
    """Return why this machine or task ends, and when; empty if it doesn't."""
    if not (leaving := report.at("leaving")):
        return ""
    left = leaving.number("seconds_left")
    parts = [leaving.text("reason"), f"{duration(left)} left" if left is not None else ""]
    return ", ".join(filter(None, [*parts, "" if leaving.value("drains") is True else "going on as before"]))


def pause_text(report: Report) -> str:
    """Return who paused, for how long, why, and what ends it; empty without a pause."""
    if not (pause := report.at("pause")):
        return ""
    by, why = pause.text("by") or "somebody", pause.text("reason")
    return f"by {by} for {duration(pause.number('seconds'))}{f': {why}' if why else ''}; courier resume ends it"


def _rates(report: Report) -> list[str]:
    lines = []
    for window in WINDOWS:
        rates = report.at("rates", window)
        if rates:
            names = ("received", "delivered", "retried", "rejected", "deleted")
            shown = [f"{name} {rate(rates.number(name))}" for name in names]
            lines.append(f"{' · '.join(shown)} a second ({window.replace('s', ' s')})")
    return lines


def _latency(report: Report) -> list[str]:
    times = report.at("latency", "60s", "delivery")
    if all(times.number(name) is None for name in ("p50", "p90", "p99")):
        return []
    shown = " · ".join(f"{name} {seconds(times.number(name))}" for name in ("p50", "p90", "p99"))
    age = report.number("latency", "60s", "end_to_end", "p50")
    end = f"; from queue to delivered p50 {seconds(age)}" if age is not None else ""
    return [f"{shown} to deliver{end} (60 s)"]


def queue(report: Report) -> str:
    """Return the state of the queue in one line, empty if /status doesn't say."""
    found = report.at("queue")
    if not found:
        return ""
    if problem := found.text("problem"):
        return problem
    parts = [f"{count(found.number('waiting'))} waiting"]
    if (oldest := found.number("oldest_seconds")) is not None:
        parts[0] += f", oldest {duration(oldest)}"
    parts += [f"{count(found.number('delayed'))} delayed", f"{count(found.number('in_flight'))} in flight"]
    growth, empty = found.number("growth_per_second"), found.number("empty_in_seconds")
    if empty is not None and found.count("waiting"):
        parts.append(f"empty in about {duration(empty)}")
    elif growth is not None and growth > 0:
        parts.append(f"growing by {rate(growth)} a second")
    return " · ".join(parts)


def dead_letters(report: Report) -> str:
    """Return the dead letters in one line, empty if there are no such queues."""
    shown = []
    for each in report.each("dead_letters"):
        problem = each.text("problem")
        shown.append(problem or f"{count(each.number('messages'))} in {each.text('queue')} ({each.text('is')})")
    return f"dead letters: {', '.join(shown)}" if shown else ""


def _queue(report: Report) -> list[str]:
    return [line for line in (queue(report), dead_letters(report)) if line]


def _recipient(report: Report) -> list[str]:
    limit, in_flight = report.number("limit"), report.number("in_flight")
    line = f"circuit breaker {breaker_state(report)} · {count(in_flight)} in flight, limit {count(limit)}"
    if openings := report.count("breaker", "openings"):
        line += f" · opened {openings:,}×"
    if (last_hour := report.number("breaker", "open_seconds_last_hour") or 0) > 0:
        line += f", {duration(last_hour)} of the last hour"
    routes = [route(each) for each in report.each("routes")[:MOST_ROUTES]]
    return [line, *routes, *(text for text in waiting(report) if not text.startswith("paused by"))]


def route(found: Report) -> str:
    """Return how the recipient of a route does, in one line."""
    totals = found.at("totals")
    line = f"route {found.text('name')}: {found.text('breaker')} · {count(found.number('in_flight'))} in flight"
    line += f", limit {count(found.number('limit'))} · {count(totals.number('delivered'))} delivered"
    bad = [(name, totals.count(name)) for name in ("retried", "rejected", "hidden") if totals.count(name)]
    return line + "".join(f" · {number:,} {name}" for name, number in bad)


def _inside(report: Report) -> list[str]:
    work, acks = report.at("queued", "work"), report.at("queued", "acks")
    parts = [
        f"{count(work.number('waiting'))} wait for a sender ({size(work.number('bytes'))})",
        f"{count(acks.number('waiting'))} for the auditor",
        f"{count(report.number('held'))} unsettled",
    ]
    if short := report.value("shortages"):
        parts.append(f"short of {', '.join(sorted(short)) if isinstance(short, dict) else DASH}")
    return [line for line in (" · ".join(parts), archive(report)) if line]


def archive(report: Report) -> str:
    """Return how the archive of the audit log stands in one line, empty without one."""
    found = report.at("archive")
    if not found:
        return ""
    parts = [f"archive {found.text('state')}"]
    if files := found.count("waiting_segments"):
        oldest = duration(found.number("oldest_seconds"))
        parts.append(f"{plural(files, 'audit file')} ({size(found.number('waiting_bytes'))}) waiting, oldest {oldest}")
    if (last := found.number("last_seconds")) is not None:
        parts.append(f"last took one {duration(last)} ago")
    return " · ".join(parts)


def processes(report: Report) -> str:
    """Return the processes in one line: how many of each role, those that aren't ready, and the restarts."""
    roles: Counter[str] = Counter()
    unwell = []
    for worker in report.each("workers"):
        role, word = worker.text("role"), worker.text("state")
        if word == "down":
            continue
        roles[role] += 1
        if word != "ready":
            unwell.append(f"{role} {worker.text('index')} {word}")
    order = sorted(roles, key=place_of)
    shown = [role if roles[role] == 1 and role in ROLES[2:] else _plural_of(roles[role], role) for role in order]
    restarts = report.count("totals", "restarts")
    lines = [", ".join(shown) or DASH, *unwell[:4], plural(restarts, "restart") if restarts else ""]
    return " · ".join(filter(None, lines))


def _plural_of(number: int, role: str) -> str:
    kind, _, route = role.partition(":")
    return plural(number, kind) + (f" of {route}" if route else "")


def _failures(report: Report) -> list[str]:
    failures = report.each("failures")
    shown = [failure(each, report) for each in failures[:MOST_FAILURES]]
    rest = len(failures) - len(shown)
    return [*shown, f"and {plural(rest, 'reason')} more"] if rest > 0 else shown


def failure(each: Report, report: Report) -> str:
    """Return the last failure for a reason in one line."""
    status = each.text("status")
    reason = each.text("reason") + (f" ({status})" if status and status not in each.text("reason") else "")
    parts = [f"{reason} ×{count(each.number('count'))}", f"last {age_of(each.text('time'), report)} ago"]
    parts += [each.text("message_id"), each.text("then") or each.text("action")]
    return " · ".join(filter(None, parts))


def age_of(stamp: str, report: Report) -> str:
    """Return how long ago a time in RFC 3339 was, by the clock of the program if /status tells it."""
    now = report.number("now") or time.time()
    at = unix_of(stamp)
    return DASH if at is None else duration(now - at)


def unix_of(stamp: str) -> float | None:
    """Return a time in RFC 3339 as Unix time, ``None`` if it is no such."""
    # Imported here: a check needs no calendar.
    from datetime import datetime

    try:
        return datetime.fromisoformat(stamp).timestamp()
    except (ValueError, OverflowError):
        return None
