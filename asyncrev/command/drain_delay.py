"""The time between a stop and the drain, in which the process accepts and is not ready any more.

A load balancer, or Kubernetes, goes on to send connections until it has noticed that the process
is not ready (https://github.com/kubernetes/kubernetes/issues/43576).
"""

import asyncio
import logging
import signal
from collections.abc import Sequence
from typing import Any

from asyncrev.errors import SettingsError
from asyncrev.limits import Limits

__all__ = ["checked_delay_s", "checked_spread_s", "wait_before_drain"]

logger = logging.getLogger("asyncrev")

MOST_DELAY_S = 3600.0


def checked_delay_s(delay_s: float) -> float:
    """Return `delay_s`.

    Raises:
        SettingsError: it is out of range.
    """
    if not 0 <= delay_s <= MOST_DELAY_S:
        raise SettingsError(
            f"--drain-delay-s is {delay_s:g}; it must lie between 0 and {MOST_DELAY_S:g} s"
        )
    return delay_s


def checked_spread_s(spread_s: float, limits: Limits) -> float:
    """Return `spread_s`.

    Raises:
        SettingsError: it is negative, or longer than the drain may take.
    """
    most_s = limits.drain_timeout_s
    if not 0 <= spread_s <= most_s:
        raise SettingsError(
            f"--drain-spread-s is {spread_s:g}; it must lie between 0 and --drain-timeout-s, which "
            f"is {most_s:g} s"
        )
    return spread_s


async def wait_before_drain(
    delay_s: float, stops: Sequence[int], forced: asyncio.Event, serving: "asyncio.Task[Any]"
) -> None:
    """Wait `delay_s`, unless the first of the signals `stops` is SIGINT, of a terminal.

    It ends early when `forced` is set, or `serving` is done.
    """
    if not delay_s or list(stops[:1]) == [signal.SIGINT]:
        return
    logger.info("not ready any more; connections are accepted for %g s", delay_s)
    forcing = asyncio.create_task(forced.wait())
    await asyncio.wait((forcing, serving), timeout=delay_s, return_when=asyncio.FIRST_COMPLETED)
    forcing.cancel()
    await asyncio.gather(forcing, return_exceptions=True)
