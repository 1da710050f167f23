"""lingering: after its last reply a connection is emptied until its peer closes it, or too long."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asyncrev.connection import lingering
from asyncrev.connection.lingering import Lingering
from tests.support import until

on_all = pytest.mark.asyncio


class Timer:
    """A timer that a test fires."""

    made: list["Timer"]

    def __init__(self, loop: object, delay_s: float, callback: Callable[[], None]) -> None:
        self.delay_s = delay_s
        self.fire = callback
        self.is_cancelled = False
        Timer.made.append(self)

    def cancel(self) -> None:
        """Note it."""
        self.is_cancelled = True


class Transport:
    """One with replies that the peer has not taken."""

    unsent_bytes = 0
    closes = 0

    def get_write_buffer_size(self) -> int:
        """Return how much is unsent."""
        return self.unsent_bytes

    def close(self) -> None:
        """Count it."""
        self.closes += 1


class Before(asyncio.BaseProtocol):
    """The protocol that lingers no more itself."""

    def __init__(self) -> None:
        self.ends: list[Exception | None] = []

    def connection_lost(self, error: Exception | None) -> None:
        """Note it."""
        self.ends.append(error)


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[Timer]:
    """Timers that are made while a test runs, the last one last."""
    Timer.made = []
    monkeypatch.setattr(lingering, "RunningTimer", Timer)
    return Timer.made


@on_all
async def test_late_input_is_dropped_and_the_peers_end_closes(timers: list[Timer]) -> None:
    """However much comes; the buffer is never empty, which asyncio would refuse."""
    transport = Transport()
    protocol = Lingering(Before(), transport, 3.0)
    for _ in range(1000):
        assert len(protocol.get_buffer(-1)) > 0
        protocol.buffer_updated(1)
    assert transport.closes == 0
    assert protocol.eof_received() is False
    assert transport.closes == 1
    assert [timer.delay_s for timer in timers] == [3.0]


@on_all
async def test_peer_that_stays_is_closed_at_the_timeout_once_it_has_its_replies(
    timers: list[Timer],
) -> None:
    """Until then it is looked at again and again."""
    transport = Transport()
    transport.unsent_bytes = 1
    Lingering(Before(), transport, 3.0)
    for number in range(1, 4):
        timers[-1].fire()
        assert transport.closes == 0
        assert len(timers) == number + 1
        assert 0 < timers[-1].delay_s < 3.0
    transport.unsent_bytes = 0
    timers[-1].fire()
    assert transport.closes == 1
    assert len(timers) == 4


@on_all
async def test_end_is_told_to_the_protocol_before_and_no_timer_is_left(
    timers: list[Timer],
) -> None:
    """The last one, if there were more."""
    before, transport, error = Before(), Transport(), ConnectionResetError()
    transport.unsent_bytes = 1
    protocol = Lingering(before, transport, 3.0)
    timers[0].fire()
    protocol.connection_lost(error)
    assert before.ends == [error]
    assert timers[-1].is_cancelled
    assert transport.closes == 0


@on_all
async def test_timeout_passes_on_a_real_loop() -> None:
    """With nothing unsent, by the clock of the loop."""
    transport: Any = Transport()
    Lingering(Before(), transport, 0.01)
    await until(lambda: transport.closes, "it is closed")
    assert transport.closes == 1
