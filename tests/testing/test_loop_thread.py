"""loop_thread: a coroutine runs beside the caller from its start to its stop; failures are kept."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from asyncrev import EpollEventLoop
from asyncrev.testing.loop_thread import LoopThread
from tests.support import DEADLINE_S, wait_until

Ready = Callable[[], None]


async def wait_for_stop(ready: Ready, stop: asyncio.Event) -> None:
    """Be ready, and end when asked."""
    ready()
    await stop.wait()


def test_main_runs_on_a_thread_of_that_name_and_on_a_loop_of_that_factory() -> None:
    """From `start` to `stop`, after which the thread has ended."""
    seen = []

    async def main(ready: Ready, stop: asyncio.Event) -> None:
        seen.append(threading.current_thread().name)
        await wait_for_stop(ready, stop)
        seen.append("stopped")

    thread = LoopThread(main, "beside", EpollEventLoop)
    assert thread.start(DEADLINE_S)
    assert seen == ["beside"]
    assert type(thread.loop) is EpollEventLoop
    assert thread.stop(DEADLINE_S)
    assert seen == ["beside", "stopped"]
    assert thread.failure is None


def test_failure_before_ready_is_raised_by_start() -> None:
    """It is not kept."""

    async def main(ready: Ready, stop: asyncio.Event) -> None:
        raise ZeroDivisionError("early")

    thread = LoopThread(main, "beside")
    with pytest.raises(ZeroDivisionError, match="early"):
        thread.start(DEADLINE_S)
    assert thread.failure is None


def test_failure_after_ready_is_kept_and_the_loop_may_have_ended_before_the_stop() -> None:
    """The stop of a thread that has ended by itself does nothing."""

    async def main(ready: Ready, stop: asyncio.Event) -> None:
        ready()
        raise ZeroDivisionError("late")

    thread = LoopThread(main, "beside")
    assert thread.start(DEADLINE_S)
    wait_until(lambda: not thread.is_alive(), "the thread has ended by itself")
    assert thread.stop(DEADLINE_S)
    assert isinstance(thread.failure, ZeroDivisionError)


def test_main_that_is_not_ready_or_does_not_end_in_time_is_reported() -> None:
    """By False; the thread goes on, and a later stop may see its end."""
    let_it_end = threading.Event()

    async def main(ready: Ready, stop: asyncio.Event) -> None:
        await asyncio.to_thread(let_it_end.wait, DEADLINE_S)

    thread = LoopThread(main, "beside")
    assert not thread.start(0.001)
    wait_until(lambda: thread._stop is not None, "the loop runs")
    assert not thread.stop(0.001)
    let_it_end.set()
    assert thread.stop(DEADLINE_S)
