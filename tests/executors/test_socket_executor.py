"""Executors with a worker at the other end of a socket."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from tests.executors import work
from tests.executors.socket_workers import KINDS, attached, results
from tests.support import until

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "epoll", "uvloop"])


@pytest.mark.parametrize("kind", KINDS)
async def test_results_are_those_of_the_calls(kind: Any) -> None:
    """Many at once, and some larger than any buffer between."""
    async with attached(kind) as executor:
        frames = [b"a" * nbytes for nbytes in (1, 10, 3_000_000, 0, 70_000, 1_000_000, 5)]
        frames *= 5
        calls = [executor.submit(work.flip, frame) for frame in frames]
        assert await results(*calls) == [frame.swapcase() for frame in frames]


@pytest.mark.parametrize("kind", KINDS)
async def test_error_of_a_call_is_its_own(kind: Any) -> None:
    """The next one is made."""
    async with attached(kind) as executor:
        wrong, right = await results(executor.submit(int, "x"), executor.submit(int, "7"))
        assert isinstance(wrong, ValueError)
        assert right == 7


@pytest.mark.parametrize("kind", KINDS)
async def test_shutdown_ends_the_process_after_its_calls(kind: Any) -> None:
    """And gives their results."""
    async with attached(kind) as executor:
        call = executor.submit(work.flip, b"a")
        await asyncio.to_thread(executor.shutdown)
        assert await results(call) == [b"A"]
        await until(lambda: executor._sock.fileno() == -1, "it is closed")
        await asyncio.to_thread(executor.shutdown)  # idempotent


@pytest.mark.parametrize("kind", KINDS)
async def test_end_of_a_worker_is_told_once_in_a_later_callback(kind: Any) -> None:
    """However it ends."""
    ends: list[str] = []
    executor = await asyncio.to_thread(kind)
    executor.attach(asyncio.get_running_loop(), lambda: ends.append("end"))
    assert await results(executor.submit(work.flip, b"a")) == [b"A"]
    assert not ends
    await asyncio.to_thread(executor.shutdown)
    await until(lambda: ends, "it is told")
    await asyncio.to_thread(executor.shutdown)
    await asyncio.sleep(0)
    assert ends == ["end"]
    assert executor._sock.fileno() == -1


@pytest.mark.parametrize("kind", KINDS)
async def test_shutdown_leaves_to_the_loop_what_it_is_closing(kind: Any) -> None:
    """A worker ends by itself, and is shut down by another thread while the loop takes note."""
    executor = await asyncio.to_thread(kind)
    executor.attach(asyncio.get_running_loop(), bool)
    real, shut_down = executor._sentinel, threading.Thread(target=executor.shutdown)

    def slow_sentinel() -> Any:
        if not shut_down.is_alive():
            shut_down.start()
        shut_down.join(0.2)
        return real()

    executor._sentinel = slow_sentinel
    executor._sock.shutdown(socket.SHUT_WR)
    await until(lambda: executor._sock.fileno() == -1, "it is closed")
    await asyncio.to_thread(shut_down.join)
