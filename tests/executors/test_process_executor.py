"""An executor that is one worker process."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import AsyncIterator
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path
from typing import Any

import pytest

from asyncrev.executors.process_executor import ProcessExecutor
from tests.executors import work
from tests.support import DEADLINE_S, until, wait_until

FORKSERVER = multiprocessing.get_context("forkserver")

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "epoll", "uvloop"])


@contextlib.asynccontextmanager
async def attached() -> AsyncIterator[ProcessExecutor]:
    """Start a process, have the running loop watch it, and end it."""
    executor = await asyncio.to_thread(ProcessExecutor, FORKSERVER, DEADLINE_S)
    executor.attach(asyncio.get_running_loop())
    try:
        yield executor
    finally:
        executor.kill()
        await asyncio.to_thread(executor.shutdown)
        await until(lambda: executor._sock.fileno() == -1, "it is closed")


def is_gone(pid: int) -> bool:
    """Return whether a process has ended and was waited for."""
    return not Path(f"/proc/{pid}").exists()


async def results(*calls: "Future[Any]") -> list[Any]:
    """Wait for calls."""
    async with asyncio.timeout(DEADLINE_S):
        return await asyncio.gather(*map(asyncio.wrap_future, calls), return_exceptions=True)


async def test_results_are_those_of_the_calls() -> None:
    """Many at once, and some larger than any buffer between."""
    async with attached() as executor:
        frames = [b"a" * nbytes for nbytes in (1, 10, 3_000_000, 0, 70_000, 1_000_000, 5)]
        frames *= 5
        calls = [executor.submit(work.flip, frame) for frame in frames]
        assert await results(*calls) == [frame.swapcase() for frame in frames]


async def test_error_of_a_call_is_its_own() -> None:
    """The next one is made."""
    async with attached() as executor:
        wrong, right = await results(executor.submit(int, "x"), executor.submit(int, "7"))
        assert isinstance(wrong, ValueError)
        assert right == 7


async def test_calls_that_the_socket_does_not_take_do_not_block() -> None:
    """They are sent when the worker reads."""
    async with attached() as executor:
        os.kill(executor.pid, signal.SIGSTOP)
        began_s = time.monotonic()
        calls = [executor.submit(work.flip, b"a" * 1_000_000) for _ in range(8)]
        assert time.monotonic() - began_s < 5
        os.kill(executor.pid, signal.SIGCONT)
        assert await results(*calls) == [b"A" * 1_000_000] * 8


async def test_call_before_it_is_attached_blocks() -> None:
    """As long as it may."""
    executor = ProcessExecutor(FORKSERVER, DEADLINE_S)
    assert executor.submit(os.getpid).result(0) == executor.pid
    executor._sock.settimeout(0.05)
    late = executor.submit(work.obey, b"hang")
    assert isinstance(late.exception(0), TimeoutError)
    executor.kill()
    executor.shutdown()
    assert executor._sock.fileno() == -1


async def test_death_fails_the_calls_that_have_no_result(tmp_path: Path) -> None:
    """And only those; from then on every call is refused."""
    async with attached() as executor:
        calls = [executor.submit(work.obey, word) for word in (b"a", b"die", b"c")]
        one, two, three = await results(*calls)
        assert one == b"A"
        assert isinstance(two, BrokenExecutor)
        assert isinstance(three, BrokenExecutor)
        with pytest.raises(BrokenExecutor, match=str(executor.pid)):
            executor.submit(work.flip, b"a")


async def test_call_to_a_process_that_has_died_is_refused_although_nobody_has_noticed() -> None:
    """So its frames are not lost."""
    async with attached() as executor:
        os.kill(executor.pid, signal.SIGKILL)
        wait_until(lambda: is_gone(executor.pid), "it is gone")  # the loop does nothing meanwhile
        with pytest.raises(BrokenExecutor):
            executor.submit(work.flip, b"a")


async def test_death_is_noticed_while_a_child_holds_the_socket(tmp_path: Path) -> None:
    """By the sentinel of the process."""
    async with attached() as executor:
        go = tmp_path / "go"
        assert await results(executor.submit(fork_a_waiter, str(go))) == [None]
        try:
            os.kill(executor.pid, signal.SIGKILL)
            call = executor.submit(work.obey, b"wait /nowhere")
            assert isinstance((await results(call))[0], BrokenExecutor)
        finally:
            go.touch()


def fork_a_waiter(path: str) -> None:
    """Leave a process that has all descriptors, until there is a file."""
    if os.fork() == 0:
        deadline_s = time.monotonic() + 60
        while not Path(path).exists() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        os._exit(0)


async def test_shutdown_ends_the_process_after_its_calls() -> None:
    """And gives their results."""
    async with attached() as executor:
        pid = executor.pid
        call = executor.submit(work.flip, b"a")
        await asyncio.to_thread(executor.shutdown)
        assert await results(call) == [b"A"]
        assert is_gone(pid)
        await asyncio.to_thread(executor.shutdown)  # idempotent
