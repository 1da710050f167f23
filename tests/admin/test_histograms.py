"""histograms: what is measured of a server, on loops with iteration hooks and on others."""

import asyncio
import time
from typing import Any

import pytest

import asyncrev
from asyncrev.admin.answers import Answers
from asyncrev.admin.histograms import histograms_of
from asyncrev.ring.durations import BOUNDS_S
from tests.support import DEADLINE_S

LIMITS = asyncrev.Limits(slots=8, max_connections=5)


async def talk(server: asyncrev.Server, times: int) -> None:
    """Send so many messages, and wait for each reply."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(times):
            writer.write(b"abc")
            assert await reader.readexactly(3) == b"cba"
        writer.close()
        await writer.wait_closed()


@pytest.mark.asyncio
@pytest.mark.parametrize("threads", [1, 2])
async def test_every_reply_is_counted(threads: int) -> None:
    """On every loop; turns of it where there are iteration hooks."""
    async with await asyncrev.serve("127.0.0.1", 0, limits=LIMITS, threads=threads) as server:
        answers = Answers(server)
        for _ in range(threads):
            await talk(server, 20)
        found: Any = (await answers.statistics())["histograms"]
        has_hooks = hasattr(asyncio.get_running_loop(), "add_iteration_hook")
    assert set(found) == {"processing_s", "reply_latency_s"} | (
        {"loop_turn_s"} if has_hooks else set()
    )
    for histogram in found.values():
        assert histogram["bounds_s"] == list(BOUNDS_S)
        assert len(histogram["counts"]) == len(BOUNDS_S) + 1
        assert 0 < histogram["sum_s"] < DEADLINE_S
    assert sum(found["reply_latency_s"]["counts"]) >= 20 * threads
    assert sum(found["processing_s"]["counts"]) >= 20 * threads


@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_turns_are_counted_without_their_wait() -> None:
    """A slow callback is one long turn."""
    async with await asyncrev.serve("127.0.0.1", 0, limits=LIMITS) as server:
        answers = Answers(server)
        await talk(server, 1)
        before = histograms_of(server)["loop_turn_s"]
        await asyncio.sleep(0.3)
        idle = histograms_of(server)["loop_turn_s"]
        assert idle["sum_s"] - before["sum_s"] < 0.25
        time.sleep(0.05)  # noqa: ASYNC251 (the turn that is meant)
        await asyncio.sleep(0.01)
        after = (await answers.statistics())["histograms"]["loop_turn_s"]
    assert after["sum_s"] - idle["sum_s"] >= 0.05
    long = [index for index, bound_s in enumerate(BOUNDS_S) if bound_s > 0.05]
    assert sum(after["counts"][index] - idle["counts"][index] for index in long) >= 1


@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_without_an_endpoint_nothing_is_measured() -> None:
    """So it costs nothing."""
    async with await asyncrev.serve("127.0.0.1", 0, limits=LIMITS) as server:
        await talk(server, 3)
        assert histograms_of(server) == {}
        assert server.bridges[0].parts.plane.durations() is None
