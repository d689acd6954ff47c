from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from scripts.faults.loop_thread import LoopThread


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    running = LoopThread("test")
    yield running
    running.stop()


async def _name_of_thread() -> str:
    return threading.current_thread().name


async def _fail() -> None:
    raise OSError("no")


def test_coroutines_and_functions_run_in_its_thread(thread: LoopThread) -> None:
    assert thread.call(_name_of_thread()) == "test"
    assert thread.do(lambda: threading.current_thread().name) == "test"


def test_an_error_comes_back_to_the_caller(thread: LoopThread) -> None:
    with pytest.raises(OSError, match="no"):
        thread.call(_fail())
    with pytest.raises(ZeroDivisionError):
        thread.do(lambda: 1 // 0)


def test_a_step_that_hangs_is_cancelled_at_the_deadline(thread: LoopThread) -> None:
    with pytest.raises(TimeoutError):
        thread.call(asyncio.sleep(3600), 0.01)
    assert thread.do(lambda: 1) == 1


def test_a_function_may_be_run_from_within(thread: LoopThread) -> None:
    assert thread.do(lambda: thread.do(lambda: 2)) == 2


def test_stopping_cancels_what_is_left_and_may_be_repeated() -> None:
    thread = LoopThread()
    ended = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    thread.do(lambda: thread.loop.create_task(wait()))
    thread.do(lambda: None)
    thread.stop()
    thread.stop()
    assert ended.is_set()


def test_a_function_whose_caller_has_given_up_does_not_run_later(thread: LoopThread) -> None:
    go_on, ran = threading.Event(), []
    thread.loop.call_soon_threadsafe(go_on.wait)
    with pytest.raises(TimeoutError):
        thread.do(lambda: ran.append("late"), seconds=0.05)
    go_on.set()
    thread.do(lambda: ran.append("next"))
    assert ran == ["next"]
