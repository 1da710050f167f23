"""drain_delay: the time between a stop and the drain."""

import asyncio
import math
import signal

import pytest

from asyncrev.command.drain_delay import checked_delay_s, checked_spread_s, wait_before_drain
from asyncrev.errors import SettingsError
from asyncrev.limits import Limits

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])

LONG_S = 3600.0


async def waited(delay_s: float, *stops: int, end: str = "") -> bool:
    """Return whether it waited for `end`, or for the delay."""
    forced, ended = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(ended.wait())
    waiting = asyncio.create_task(wait_before_drain(delay_s, stops, forced, serving))
    for _ in range(5):
        await asyncio.sleep(0)
    was_waiting = not waiting.done()
    if end:
        (forced if end == "forced" else ended).set()
    async with asyncio.timeout(10):
        await waiting
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return was_waiting


async def test_no_delay_waits_for_nothing() -> None:
    """The default."""
    assert not await waited(0.0, signal.SIGTERM)


async def test_delay_passes() -> None:
    """After a signal, and after a stop by other means."""
    assert await waited(0.02, signal.SIGTERM)
    assert await waited(0.02)


async def test_sigint_skips_it() -> None:
    """Somebody waits at the terminal."""
    assert not await waited(LONG_S, signal.SIGINT)


@pytest.mark.parametrize("end", ["forced", "ended"])
async def test_second_signal_or_the_servers_end_ends_it(end: str) -> None:
    """There is nothing to wait for any more."""
    assert await waited(LONG_S, signal.SIGTERM, end=end)


async def test_range_is_checked() -> None:
    """With the value."""
    assert checked_delay_s(0.0) == 0.0
    for delay_s in (-1.0, 3601.0, float("inf"), float("nan")):
        with pytest.raises(SettingsError, match=f"--drain-delay-s is {delay_s:g}"):
            checked_delay_s(delay_s)


@pytest.mark.parametrize("spread_s", [0.0, 3.0, 10.0])
async def test_spread_within_the_drain_is_taken(spread_s: float) -> None:
    """None of it, some or all."""
    assert checked_spread_s(spread_s, Limits(drain_timeout_s=10.0)) == spread_s


@pytest.mark.parametrize(
    ("spread_s", "timeout_s"), [(-1.0, 10.0), (10.1, 10.0), (math.inf, 3600.0)]
)
async def test_spread_that_is_no_part_of_the_drain_is_refused(
    spread_s: float, timeout_s: float
) -> None:
    """It names both options."""
    text = rf"^--drain-spread-s is {spread_s:g}; .* --drain-timeout-s, which is {timeout_s:g} s$"
    with pytest.raises(SettingsError, match=text):
        checked_spread_s(spread_s, Limits(drain_timeout_s=timeout_s))
