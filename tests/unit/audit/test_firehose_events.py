"""Event lines to a stream: nothing waits for them, and those that the stream doesn't take are counted."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from courier.audit import firehose_events
from courier.audit.firehose_events import EventPuts


class Stream:
    """Takes lines once ``open`` is set, and loses ``loses`` of each call."""

    def __init__(self, loses: int = 0) -> None:
        self.open = threading.Event()
        self.calls: list[list[bytes]] = []
        self._loses = loses

    def put(self, lines: Sequence[bytes]) -> int:
        self.open.wait(30)
        self.calls.append(list(lines))
        return self._loses


def test_what_comes_during_a_call_is_the_next_one_and_nothing_waits() -> None:
    stream = Stream()
    puts = EventPuts(stream.put)
    for n in range(100):
        assert puts.add([b"%d\n" % n]) == 0
    stream.open.set()
    puts.close()
    assert [line for call in stream.calls for line in call] == [b"%d\n" % n for n in range(100)]
    assert len(stream.calls) < 100


def test_lines_beyond_the_bound_and_lines_that_the_stream_refuses_are_counted() -> None:
    stream = Stream(loses=1)
    puts, line = EventPuts(stream.put), b"x" * (firehose_events.MOST_BYTES // 4)
    lost = sum(puts.add([line]) for _ in range(20))
    assert lost >= 20 - 5 - 4
    stream.open.set()
    puts.close()
    lost += puts.add([])
    assert lost == 20 - sum(map(len, stream.calls)) + len(stream.calls)


def test_a_hanging_stream_holds_up_the_end_for_a_moment_only() -> None:
    stream = Stream()
    puts = EventPuts(stream.put)
    puts.add([b"a\n"])
    puts.close()
    assert not stream.calls
    stream.open.set()
