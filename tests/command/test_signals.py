"""signals: one owner of a process's handlers, tried with real signals to this process."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from asyncrev.command.signals import OTHERS, SAME_STOP_S, STOPS, ProcessSignals, name_of
from tests.support import until


class Clock:
    """Time that stands still unless it is told otherwise."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """The owner's time."""
    return Clock()


@pytest.fixture
def owner(clock: Clock) -> Iterator[ProcessSignals]:
    """An owner of this process's handlers, until the end of the test."""
    before = {number: signal.getsignal(number) for number in STOPS | OTHERS}
    owner = ProcessSignals(clock=clock)
    owner.take_over()
    yield owner
    owner.give_back()
    assert {number: signal.getsignal(number) for number in STOPS | OTHERS} == before


@contextlib.asynccontextmanager
async def delivered(owner: ProcessSignals) -> AsyncIterator[list[tuple[int, bool]]]:
    """Have the signals told in the running loop; give what was told."""
    told: list[tuple[int, bool]] = []
    owner.deliver_to(asyncio.get_running_loop(), lambda *what: told.append(what))
    try:
        yield told
    finally:
        owner.end(0)


def send(number: int) -> None:
    """Send this process a signal; Python calls the handler before the next call returns."""
    os.kill(os.getpid(), number)


@pytest.mark.asyncio
async def test_signals_are_delivered_in_the_loop(owner: ProcessSignals, clock: Clock) -> None:
    """Every loop wakes up for them, in order; a later stop is another one."""
    async with delivered(owner) as told:
        send(signal.SIGHUP)
        await until(lambda: told == [(signal.SIGHUP, False)], "it is delivered")
        send(signal.SIGQUIT)
        await until(lambda: len(told) == 2, "it is delivered")
        clock.now_s += SAME_STOP_S
        send(signal.SIGTERM)
        await until(lambda: len(told) == 3, "it is delivered")
        assert told[1:] == [(signal.SIGQUIT, False), (signal.SIGTERM, True)]


@pytest.mark.asyncio
@pytest.mark.parametrize("second", sorted(STOPS))
async def test_stop_delivered_twice_is_one(
    owner: ProcessSignals, clock: Clock, second: int
) -> None:
    """Also as another signal: until half a second after the first, however often it comes."""
    async with delivered(owner) as told:
        send(signal.SIGTERM)
        for _ in range(3):
            clock.now_s += SAME_STOP_S / 4
            send(second)
        send(signal.SIGUSR1)  # is delivered after them
        await until(lambda: (signal.SIGUSR1, False) in told, "it is delivered")
        assert told == [(signal.SIGTERM, False), (signal.SIGUSR1, False)]
        clock.now_s += SAME_STOP_S / 4
        send(second)
        await until(lambda: told[-1] == (second, True), "it is delivered")


@pytest.mark.asyncio
async def test_other_signals_before_there_was_a_loop_are_delivered_to_it(
    owner: ProcessSignals,
) -> None:
    """Each once: the kernel does not count them either."""
    for number in (signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR2):
        send(number)
    async with delivered(owner) as told:
        await until(lambda: len(told) == 2, "both are delivered")
        assert told == [(signal.SIGUSR2, False), (signal.SIGHUP, False)]


@pytest.mark.asyncio
async def test_end_leaves_the_loop_as_it_was(owner: ProcessSignals) -> None:
    """What comes afterwards is neither delivered nor an error, and no descriptor stays."""
    told: list[tuple[int, bool]] = []
    wakeup_fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup_fd)
    open_before = len(os.listdir("/proc/self/fd"))
    owner.deliver_to(asyncio.get_running_loop(), lambda *what: told.append(what))
    owner.end(3)
    assert signal.set_wakeup_fd(wakeup_fd) == wakeup_fd
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGINT):
        send(number)
    await asyncio.sleep(0)
    assert told == []
    assert len(os.listdir("/proc/self/fd")) == open_before
    assert owner.exit_code == 3


def test_handler_of_somebody_else_is_taken_over_again_and_not_given_back(
    owner: ProcessSignals,
) -> None:
    """A processor's module may have set one at its import."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    owner.take_over()
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGINT)
    assert callable(signal.getsignal(signal.SIGTERM))


@pytest.mark.parametrize("theirs", [signal.SIG_IGN, lambda number, frame: None], ids=["IGN", "own"])
def test_other_signal_that_somebody_handles_stays_theirs(theirs: Any) -> None:
    """A module may dump its state at SIGUSR1; and under nohup SIGHUP is ignored."""
    before = signal.signal(signal.SIGUSR1, theirs)
    owner = ProcessSignals()
    try:
        owner.take_over()
        assert signal.getsignal(signal.SIGUSR1) == theirs
        assert signal.getsignal(signal.SIGUSR2) != signal.SIG_DFL
        owner.give_back()
        assert signal.getsignal(signal.SIGUSR1) == theirs
    finally:
        owner.give_back()
        signal.signal(signal.SIGUSR1, before)


def test_names_are_the_kernels() -> None:
    """For log lines."""
    assert name_of(signal.SIGUSR1) == "SIGUSR1"
