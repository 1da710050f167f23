"""lingering: late input is dropped until the peer closes, or the time is over."""

import asyncio
from typing import Any

import pytest

from asyncrev.connection.lingering import Lingering
from tests.support import until


class FakeTransport:
    """Has a write buffer, and notes its close."""

    def __init__(self) -> None:
        self.buffered_bytes = 0
        self.closed = False

    def get_write_buffer_size(self) -> int:
        return self.buffered_bytes

    def close(self) -> None:
        self.closed = True


class Before(asyncio.Protocol):
    """The protocol before; notes how the connection ended."""

    def __init__(self) -> None:
        self.ends: list[Exception | None] = []

    def connection_lost(self, error: Exception | None) -> None:
        self.ends.append(error)


pytestmark = pytest.mark.asyncio


def lingering(timeout_s: float) -> tuple[Any, Before, Lingering]:
    """Return a transport, the protocol before, and what lingers."""
    transport, before = FakeTransport(), Before()
    return transport, before, Lingering(before, transport, timeout_s)


async def test_late_input_is_dropped_and_the_peers_end_closes() -> None:
    """All of it goes into the same few bytes."""
    transport, before, late = lingering(60.0)
    buffer = late.get_buffer(-1)
    late.buffer_updated(len(buffer))
    assert late.get_buffer(-1) is buffer
    assert not transport.closed
    assert late.eof_received() is False
    assert transport.closed
    error = ConnectionResetError()
    late.connection_lost(error)
    assert before.ends == [error]


async def test_peer_that_stays_is_closed_when_the_time_is_over() -> None:
    """It was told the end, and has everything."""
    transport, _, late = lingering(0.01)
    await until(lambda: transport.closed, "it is closed")
    late.connection_lost(None)


async def test_unsent_replies_put_the_close_off() -> None:
    """Who takes them too slowly is a matter of the write stall."""
    transport, _, late = lingering(60.0)
    transport.buffered_bytes = 1
    late._expire()
    assert not transport.closed
    transport.buffered_bytes = 0
    late._expire()
    assert transport.closed
    late.connection_lost(None)


async def test_lost_connection_leaves_no_timer() -> None:
    """Nothing is closed a second time."""
    transport, before, late = lingering(0.01)
    late.connection_lost(None)
    later_transport, _, later = lingering(0.02)
    await until(lambda: later_transport.closed, "the time of a later one is over")
    later.connection_lost(None)
    assert not transport.closed
    assert before.ends == [None]
