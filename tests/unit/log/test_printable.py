"""What is logged, whatever it holds, is one printable line, and in JSON one that reads back."""

from __future__ import annotations

import io
import json
import logging
import re
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.log import setup
from courier.log.printable import LINE_BYTES, json_line, logfmt_line, one_line
from tests.examples import examples
from tests.unit.log.test_setup import _logging_as_it_was  # noqa: F401

HOSTILE = [
    "",
    "\x1b[2J\x1b]0;title\x07",
    "a\rb\nc\td",
    "\x85\x9b31m\x7f\x00",
    "\u202egnp.exe\u202c\u2066",
    "\u2028line\u2029paragraph",
    "\ud800 lone \udfff and \udc80",
    "\U000e0041\ufeff\u200b\u00ad",
    'quote " equals = back \\ slash',
    "\U0001f600 smile, grüße, 東京",
    "x" * 10_000_000,
    "\x1b" * 100_000,
]
PAIR = re.compile(r'([^\s="]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?: |$)')


class Raises:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Anything:
    def __repr__(self) -> str:
        return "\x1b[31m<anything>\n"


def read_logfmt(line: str) -> dict[str, str]:
    found, at = {}, 0
    while at < len(line):
        match = PAIR.match(line, at)
        assert match, line[at : at + 80]
        key, value = match.groups()
        found[key] = json.loads(value) if value.startswith('"') else value
        at = match.end()
    return found


def assert_both_are_lines(event: dict[str, Any]) -> None:
    for line in (json_line(event), logfmt_line(event)):
        assert line.isprintable()
        assert len(line.splitlines()) == 1
        assert len(line.encode()) <= LINE_BYTES + 2000
    # orjson is strict where the standard library isn't.
    assert len(orjson.loads(json_line(event))) == min(64, len({str(key) for key in event}))
    read_logfmt(logfmt_line(event))


texts = st.one_of(
    st.sampled_from(HOSTILE[:-2]),
    st.text(st.characters(codec=None)),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Co"])),
)
scalars = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(max_size=64),
    st.builds(pow, st.just(10), st.just(5000)),
    st.builds(Raises),
    st.builds(Anything),
    st.builds(bytearray, st.binary(max_size=8)),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(texts, st.integers(), st.binary(max_size=4), st.none()), inner, max_size=4),
        st.tuples(inner, inner),
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=examples(300))
@given(st.dictionaries(texts.filter(bool), values, min_size=1, max_size=8))
def test_an_event_is_one_printable_line_in_both_formats(event: dict[str, Any]) -> None:
    assert_both_are_lines(event)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_shown_and_not_obeyed(text: str) -> None:
    assert_both_are_lines({"event": text, "exception": text, text[:50]: text})
    assert one_line(text).isprintable()


@settings(deadline=None, max_examples=examples(200))
@given(texts)
def test_what_has_a_text_of_its_own_reads_back_as_it_was(text: str) -> None:
    shown = text.encode("utf-8", "backslashreplace").decode()
    assert orjson.loads(json_line({"event": text})) == {"event": shown}
    assert read_logfmt(logfmt_line({"event": text})) == {"event": shown}


def test_values_are_cut_and_tell_how_long_they_were_and_stacks_keep_their_end() -> None:
    line = orjson.loads(
        json_line({"event": "e", "detail": "x" * 10_000_000, "exception": "y" * 100_000 + "Error: end"})
    )
    assert line["detail"].endswith("... (10000000 characters)")
    assert line["exception"].endswith("Error: end")
    assert line["exception"].startswith("(100010 characters) ...")
    many = {f"key-{number}": "\x1b" * 10_000 for number in range(1000)}
    assert_both_are_lines(many)


def test_numbers_stay_numbers_and_what_json_does_not_know_becomes_text() -> None:
    event = {"n": 3, "f": 0.5, "yes": True, "no": None, "nan": float("nan"), "huge": 2**70, "bytes": b"\xff"}
    line = orjson.loads(json_line(event))
    assert line["n"] == 3
    assert line["f"] == 0.5
    assert line["yes"] is True
    assert line["no"] is None
    assert (line["nan"], line["huge"], line["bytes"]) == ("nan", hex(2**70), "\\xff")
    assert logfmt_line(event).startswith("n=3 f=0.5 yes=true no= nan=nan")


@pytest.mark.parametrize("log_format", setup.FORMATS)
def test_no_event_is_lost_whatever_it_carries(log_format: str) -> None:
    stream = io.StringIO()
    setup.configure("info", log_format, stream)
    logger = structlog.get_logger("courier")
    logger.warning("\ud800", path="\udcff", value=Raises(), raw=b"\xff\x1b", **{"odd key=": Anything()})
    try:
        raise ValueError("\ud800\x1b[2J\n" + "z" * 100_000)
    except ValueError:
        logger.exception("failed")
    logging.getLogger("library").warning("takes %d", "no number")
    logging.getLogger("library").warning("a value that raises: %s", Raises())
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)
    if log_format == "json":
        read = [orjson.loads(line) for line in lines]
        assert read[2]["event"] == "takes %d"
        assert read[2]["unformatted"] == "TypeError"
    else:
        assert [read_logfmt(line)["logger"] for line in lines] == ["courier", "courier", "library", "library"]
