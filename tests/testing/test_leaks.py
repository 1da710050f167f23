"""leaks: whatever is left behind is told, and nothing else."""

import asyncio
import os
import socket
import threading
from typing import Any

import pytest

from asyncrev.testing.leaks import LeakCheck
from tests.conftest import LOOPS


class Leaving:
    """Things to leave behind, and their removal."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.thread = threading.Thread(target=self.go.wait, name="left-thread", daemon=True)
        self.descriptor = -1

    def close(self) -> None:
        """Leave nothing after all."""
        self.go.set()
        if self.thread.ident is not None:
            self.thread.join()
        if self.descriptor >= 0:
            os.close(self.descriptor)


@pytest.fixture
def leaving() -> Any:
    """Something to leave."""
    things = Leaving()
    yield things
    things.close()


def test_block_that_leaves_nothing_passes_and_everything_is_as_before() -> None:
    """Descriptors, threads and loops that come and go do no harm."""
    before = asyncio.runners._cancel_all_tasks, asyncio.BaseEventLoop.default_exception_handler
    check = LeakCheck()
    for _ in range(2):  # it can be used again
        with check:
            with socket.socket():
                threading.Thread(target=int).start()
            asyncio.run(asyncio.sleep(0))
    after = asyncio.runners._cancel_all_tasks, asyncio.BaseEventLoop.default_exception_handler
    assert after == before


def test_descriptor_that_is_left_is_told(leaving: Leaving) -> None:
    """With its number, and with what it is."""
    with (
        pytest.raises(AssertionError, match=r"descriptors left: \{\d+: '/dev/null'\}"),
        LeakCheck(),
    ):
        leaving.descriptor = os.open("/dev/null", os.O_RDONLY)


def test_descriptor_that_is_another_one_now_is_told(leaving: Leaving) -> None:
    """The number is the same, but not what it names."""
    leaving.descriptor = os.open("/dev/null", os.O_RDONLY)

    def exchange() -> None:
        other = os.open("/dev/zero", os.O_RDONLY)
        os.dup2(other, leaving.descriptor)
        os.close(other)

    with (
        pytest.raises(AssertionError, match=r"descriptors left: \{\d+: '/dev/zero'\}"),
        LeakCheck(),
    ):
        exchange()


def test_thread_that_is_left_is_told_after_the_deadline(leaving: Leaving) -> None:
    """Until then it may end."""
    with (
        pytest.raises(AssertionError, match=r"threads left after 0.05 s.*left-thread"),
        LeakCheck(deadline_s=0.05),
    ):
        leaving.thread.start()


def test_thread_that_ends_in_time_is_waited_for() -> None:
    """It ends only after the block has."""
    ended = threading.Event()

    class Waiting(LeakCheck):
        def _check(self) -> None:
            ended.set()
            super()._check()

    with Waiting():
        thread = threading.Thread(target=ended.wait)
        thread.start()
    assert not thread.is_alive()


def test_task_that_is_left_is_told(nothing_is_left: LeakCheck) -> None:
    """One that `asyncio.run` had to cancel."""

    async def forget() -> None:
        forget.task = asyncio.create_task(asyncio.sleep(60), name="left-task")  # type: ignore[attr-defined]

    with pytest.raises(AssertionError, match=r"tasks left.*left-task"), LeakCheck():
        asyncio.run(forget())
    assert len(nothing_is_left.left_tasks) == 1  # a check within another one hides nothing
    nothing_is_left.left_tasks.clear()


async def fail_in_a_callback() -> None:
    """Let the loop's exception handler have something."""
    asyncio.get_running_loop().call_soon(int, "no number")
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_exception_that_nobody_handled_is_told(
    caplog: pytest.LogCaptureFixture, loop_errors: list[dict[str, Any]]
) -> None:
    """The loop's own handler still logs it; who expects it clears the list."""
    with pytest.raises(AssertionError, match=r"unhandled loop exceptions.*no number"), LeakCheck():
        asyncio.run(fail_in_a_callback())
    assert "no number" in caplog.text
    with LeakCheck() as check:
        asyncio.run(fail_in_a_callback())
        assert len(check.unhandled) == 1
        check.unhandled.clear()
    assert len(loop_errors) == 2  # a check within another one hides nothing
    loop_errors.clear()


def test_task_exception_that_only_the_collector_finds_is_told(
    loop_errors: list[dict[str, Any]],
) -> None:
    """ "Task exception was never retrieved" comes when the task is collected, at the end."""

    async def forget() -> None:
        async def fail() -> None:
            raise ValueError("forgotten")

        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        task.circle = task  # type: ignore[attr-defined]

    with pytest.raises(AssertionError, match=r"unhandled.*forgotten"), LeakCheck():
        asyncio.run(forget())
    loop_errors.clear()


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_recorded_loops_tell_what_they_did_not_handle(name: str) -> None:
    """Any loop, uvloop's too, which has its own way to the handler."""
    check = LeakCheck()

    def run() -> None:
        with asyncio.Runner(loop_factory=check.recording(LOOPS[name])) as runner:
            runner.run(fail_in_a_callback())

    with pytest.raises(AssertionError, match="no number"), check:
        run()
    assert [type(context["exception"]) for context in check.unhandled] == [ValueError]
    check.unhandled.clear()


def test_block_that_raises_keeps_its_error(leaving: Leaving) -> None:
    """What it left is not its most urgent trouble."""

    def fail() -> None:
        leaving.descriptor = os.open("/dev/null", os.O_RDONLY)
        raise KeyError("own")

    with pytest.raises(KeyError, match="own"), LeakCheck():
        fail()


def test_several_leaks_are_told_together(leaving: Leaving) -> None:
    """One message for all of them."""

    def leave() -> None:
        leaving.thread.start()
        leaving.descriptor = os.open("/dev/null", os.O_RDONLY)

    says = r"left-thread.*; descriptors left"
    with pytest.raises(AssertionError, match=says), LeakCheck(deadline_s=0.01):
        leave()
