"""toxics: each of the seven does what it says to the bytes that pass."""

import asyncio
import socket
import time

import pytest

from asyncrev.testing.faults import NOTHING, Toxics
from asyncrev.testing.history import History
from tests.linked import DELAY_S, DIRECTIONS, LEAST_S, end, linked, receive, send
from tests.support import pattern, until

both_ways = pytest.mark.parametrize("direction", DIRECTIONS)


@both_ways
@pytest.mark.asyncio
async def test_latency_holds_bytes_and_their_end_in_their_order(direction: str) -> None:
    """No piece overtakes another, whatever the jitter."""
    async with linked() as connection:
        connection.set(direction, Toxics(latency_s=DELAY_S, jitter_s=DELAY_S / 4))
        sender, receiver = connection.ends(direction)
        history = History(1)
        begun_s = time.monotonic()
        for _ in range(20):
            await send(sender, history.take(100))
            await asyncio.sleep(0)
        sender.shutdown(socket.SHUT_WR)
        history.received(await receive(receiver, 1))
        assert time.monotonic() - begun_s >= LEAST_S
        got, how = await end(receiver)
        history.received(got)
        history.finish(complete=True)
        assert how == "FIN"
        assert connection.proxy.faults["latency"] >= 2


@both_ways
@pytest.mark.asyncio
async def test_bandwidth_takes_the_time_that_the_bytes_need(direction: str) -> None:
    """As many at once as go in a fiftieth of a second, and the rest later."""
    async with linked() as connection:
        connection.set(direction, Toxics(bandwidth_bytes_per_s=50_000))
        sender, receiver = connection.ends(direction)
        begun_s = time.monotonic()
        await send(sender, pattern(5000))
        assert await receive(receiver, 5000) == pattern(5000)
        assert time.monotonic() - begun_s >= (5000 - 1000) / 50_000 / 2
        assert connection.proxy.faults["bandwidth"] == 5


@both_ways
@pytest.mark.asyncio
async def test_slow_close_holds_the_end_only(direction: str) -> None:
    """The bytes before it pass, and the other direction stays open meanwhile."""
    async with linked() as connection:
        connection.set(direction, Toxics(slow_close_s=DELAY_S))
        sender, receiver = connection.ends(direction)
        begun_s = time.monotonic()
        await send(sender, b"abc")
        sender.shutdown(socket.SHUT_WR)
        assert await receive(receiver, 3) == b"abc"
        assert await end(receiver) == (b"", "FIN")
        assert time.monotonic() - begun_s >= LEAST_S
        await send(receiver, b"def")
        assert await receive(sender, 3) == b"def"
        assert connection.proxy.faults == {"slow_close": 1}


@both_ways
@pytest.mark.asyncio
async def test_timeout_stops_the_bytes_and_then_closes_both(direction: str) -> None:
    """In good order; the bytes are gone."""
    async with linked() as connection:
        sender, receiver = connection.ends(direction)
        begun_s = time.monotonic()
        connection.set(direction, Toxics(timeout_s=DELAY_S))
        await send(sender, b"abc")
        assert await end(receiver) == (b"", "FIN")
        assert time.monotonic() - begun_s >= LEAST_S
        assert await end(sender) == (b"", "FIN")
        assert connection.proxy.faults == {"timeout": 1}


@both_ways
@pytest.mark.asyncio
async def test_timeout_of_zero_never_closes_and_ends_when_it_is_taken_away(direction: str) -> None:
    """Nothing is lost by it; the other direction goes on."""
    async with linked(**{direction: Toxics(timeout_s=0)}) as connection:
        sender, receiver = connection.ends(direction)
        await send(sender, b"abc")
        await until(lambda: connection.proxy.faults["timeout"] == 1, "it is held")
        await send(receiver, b"def")
        assert await receive(sender, 3) == b"def"
        assert connection.proxy.passed_bytes[direction] == 0
        connection.set(direction, NOTHING)
        assert await receive(receiver, 3) == b"abc"


@both_ways
@pytest.mark.asyncio
async def test_reset_peer_resets_both_after_its_time(direction: str) -> None:
    """Bytes pass until then."""
    async with linked() as connection:
        sender, receiver = connection.ends(direction)
        await send(sender, b"abc")
        assert await receive(receiver, 3) == b"abc"
        begun_s = time.monotonic()
        connection.set(direction, Toxics(reset_peer_s=DELAY_S))
        assert await end(receiver) == (b"", "RST")
        assert time.monotonic() - begun_s >= LEAST_S
        assert await end(sender) == (b"", "RST")
        assert connection.proxy.faults == {"reset_peer": 1}


@both_ways
@pytest.mark.asyncio
async def test_slicer_splits_chunks_into_pieces(direction: str) -> None:
    """Every one is passed on by itself, and waits for the one before."""
    async with linked(seed=5) as connection:
        connection.set(
            direction, Toxics(slicer_bytes=10, slicer_variation_bytes=4, slicer_delay_s=0.002)
        )
        sender, receiver = connection.ends(direction)
        begun_s = time.monotonic()
        await send(sender, pattern(280))
        assert await receive(receiver, 280) == pattern(280)
        assert time.monotonic() - begun_s >= (280 / 14 - 1) * 0.002 / 2
        assert 280 // 14 <= connection.proxy.faults["slicer"] <= 280 // 6


@both_ways
@pytest.mark.asyncio
async def test_limit_data_closes_both_after_so_many_bytes(direction: str) -> None:
    """Exactly so many arrive, and then the end in good order."""
    async with linked() as connection:
        connection.set(direction, Toxics(limit_bytes=1234))
        sender, receiver = connection.ends(direction)
        await send(sender, pattern(1000))
        assert await receive(receiver, 1000) == pattern(1000)
        await send(receiver, pattern(5000))  # not counted
        assert await receive(sender, 5000) == pattern(5000)
        await send(sender, pattern(1000))
        assert await end(receiver) == (pattern(1000)[:234], "FIN")
        assert await end(sender) == (b"", "FIN")
        assert connection.proxy.faults == {"limit_data": 1}


@both_ways
@pytest.mark.asyncio
async def test_limit_data_ends_in_good_order_although_input_is_unread(direction: str) -> None:
    """A plain close would reset, and take from the receiver what it has not read yet."""
    async with linked() as connection:
        sender, receiver = connection.ends(direction)
        other = DIRECTIONS[direction == "upstream"]
        connection.proxy.set(**{other: Toxics(timeout_s=0), direction: Toxics(limit_bytes=5)})
        sending = asyncio.create_task(send(receiver, bytes(2_000_000)))
        await until(lambda: connection.proxy.faults["timeout"] == 1, "it is held")
        await send(sender, b"abcdefg")
        await until(lambda: connection.proxy.faults["limit_data"] == 1, "it is closed")
        await sending
        assert await end(receiver) == (b"abcde", "FIN")


@pytest.mark.asyncio
async def test_limit_that_has_been_passed_already_closes_at_the_next_byte() -> None:
    """None of the later bytes arrives."""
    async with linked() as connection:
        sender, receiver = connection.ends("upstream")
        await send(sender, b"abc")
        assert await receive(receiver, 3) == b"abc"
        connection.set("upstream", Toxics(limit_bytes=2))
        await send(sender, b"def")
        assert await end(receiver) == (b"", "FIN")
