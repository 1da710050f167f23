"""An executor that is one worker process."""

import os
import signal
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from tests.executors import work
from tests.executors.socket_workers import attached, process, results
from tests.support import wait_until

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "epoll", "uvloop"])


def is_gone(pid: int) -> bool:
    """Return whether a process has ended and was waited for."""
    return not Path(f"/proc/{pid}").exists()


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
    executor = process()
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
