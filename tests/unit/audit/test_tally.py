from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import orjson
from hypothesis import given
from hypothesis import strategies as st

from courier.audit.record import record_line
from courier.audit.recover import count, log_lines, no_pause
from courier.audit.tally import Tally, after, nothing, time_range
from tests.unit.audit.test_reader import FIRST
from tests.unit.audit.test_record import MESSAGE


def line(at: float, body: bytes = b"x") -> bytes:
    return record_line(MESSAGE._replace(body=body), "delivered", 200, 0.001, at)


lines = st.lists(
    st.one_of(
        st.builds(line, st.floats(0, 4e9), st.binary(max_size=5)),
        st.sampled_from([b"{}\n", b'{"time":"2026"}\n', b'{"time":"9999-99-99T99:99:99.999\xff"\n', b"zz\n", b"\0\n"]),
    ),
    min_size=1,
    max_size=8,
)


def times_of(whole: list[bytes]) -> list[bytes]:
    return [orjson.loads(each)["time"].encode() for each in whole if b"message_id" in each]


@given(lines)
def test_the_range_is_that_of_the_times_of_the_records(whole: list[bytes]) -> None:
    times = times_of(whole)
    assert time_range(whole) == ((min(times), max(times)) if times else (b"", b""))


@given(st.lists(lines, max_size=4))
def test_the_writer_and_a_reader_of_the_file_come_to_the_same(tmp_path_factory, groups: list[list[bytes]]) -> None:  # type: ignore[no-untyped-def]
    tally = nothing()
    for group in groups:
        digest = tally.hash.copy()
        digest.update(b"".join(group))
        tally = after(tally, group, sum(map(len, group)), digest, timed=True)
    path: Path = tmp_path_factory.mktemp("audit") / FIRST
    content = b"".join(each for group in groups for each in group)
    path.write_bytes(content)
    with log_lines() as logs:
        found = count(path, no_pause, lambda: None, logs)
    assert isinstance(found, Tally)
    assert found.checkpoint() == tally.checkpoint()
    assert tally.checkpoint().sha256 == sha256(content).hexdigest()
    assert tally.checkpoint().records == content.count(b"\n")
    assert tally.checkpoint().offset == len(content)
