"""protocol: processors that are coroutines, over real sockets, every framing and transport."""

import asyncio
import contextvars
import functools
import gc
import random
import socket
import threading
import time
import weakref
from typing import Any, ClassVar

import pytest

import asyncrev
from asyncrev import Limits, PeerRefused, current_connection_info
from tests.framed import NAMES, framed
from tests.protocol.served import KIND, connect, half_closes, in_thread, reset, resets, serve
from tests.support import DEADLINE_S, receive_all, receive_exactly, send_until_stuck, until

on_all = pytest.mark.asyncio
every_framing = pytest.mark.parametrize("name", NAMES)
SMALL = Limits(
    slots=8,
    slot_bytes=4096,
    in_flight_bytes=8192,
    max_frame_bytes=3000,
    pool_bytes=65536,
    pending_per_connection=8,
    pending_total=20,
    processor_timeout_s=30,
)


async def shuffled(data: bytes) -> bytes:
    """Answer in capitals, at some time."""
    await asyncio.sleep(random.random() * 0.005)
    return data.upper()


def together(name: str, payloads: list[bytes]) -> bytes:
    """Return payloads as frames."""
    return b"".join(framed(name, payload) for payload in payloads)


def ask_all(sock: socket.socket, data: bytes) -> bytes:
    """Send `data`, end the stream, return everything that comes; both at the same time."""
    with sock:
        sender = threading.Thread(
            target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR))
        )
        sender.start()
        try:
            return receive_all(sock)
        finally:
            sender.join()


@half_closes
@every_framing
@on_all
async def test_replies_keep_the_order_of_their_frames(name: str) -> None:
    """Whatever order they are ready in, of eight connections at once, and up to the end."""
    async with await serve(shuffled, framing=name, limits=SMALL) as server:
        payloads = [[b"%d:%d" % (who, n) + b"x" * (n % 90) for n in range(150)] for who in range(8)]
        received = await asyncio.gather(
            *(in_thread(ask_all, connect(server), together(name, many)) for many in payloads)
        )
        for many, got in zip(payloads, received, strict=True):
            assert got == together(name, [one.upper() for one in many])
        pending = server.statistics().pending
        assert pending is not None
        assert 8 < pending.running_high <= 20
        assert (pending.requests, pending.running, pending.held_bytes) == (0, 0, 0)


@half_closes
@on_all
async def test_raw_chunks_keep_their_order() -> None:
    """However the network has split them."""
    async with await serve(shuffled, limits=SMALL) as server:
        data = random.Random(3).randbytes(100_000).lower()
        assert await in_thread(ask_all, connect(server), data) == data.upper()


class Greeter:
    """Greets who it is told of, answers by what it knows, and says a last word."""

    closed: ClassVar[list[str]] = []

    def __init__(self, name: bytes = b"nobody") -> None:
        self.name = name
        self.greeted = False
        self.peer: Any = None

    async def connected(self, info: asyncrev.ConnectionInfo) -> bytes:
        await asyncio.sleep(0.001)
        self.greeted = True
        self.peer = info.peer_address
        return b"hello"

    async def process(self, frame: bytes) -> bytes:
        assert self.greeted
        info = current_connection_info()
        assert info.peer_address == self.peer
        assert (info.tls is not None) == (KIND == "tls")
        return self.name + b":" + frame

    async def eof(self) -> bytes:
        await asyncio.sleep(0)
        return b"bye"

    async def close(self) -> None:
        await asyncio.sleep(0)
        Greeter.closed.append("closed")


@half_closes
@on_all
async def test_class_greets_first_and_says_its_last_word_behind_all_replies() -> None:
    """Its methods run on the loop, may be asynchronous, and know who the peer is."""
    Greeter.closed.clear()
    made = functools.partial(Greeter, b"me")
    async with await serve(made, framing="line", limits=SMALL) as server:
        client = connect(server)
        with client:
            assert await in_thread(receive_exactly, client, 6) == b"hello\n"
            client.sendall(b"a\nb\nopen")
            client.shutdown(socket.SHUT_WR)
            assert await in_thread(receive_all, client) == b"me:a\nme:b\nme:open\nbye\n"
        await until(lambda: Greeter.closed == ["closed"], "close() was called")


@half_closes
@on_all
async def test_an_error_comes_behind_the_replies_before_it(
    loop_errors: list[dict[str, Any]],
) -> None:
    """The connection ends with them; the loop's handler gets the error; others go on."""

    async def moody(frame: bytes) -> bytes:
        await asyncio.sleep(0.01 if frame == b"slow" else 0)
        if frame == b"bad":
            raise ValueError("no")
        return frame.upper()

    async with await serve(moody, framing="line", limits=SMALL) as server:
        other = connect(server)
        with connect(server) as client, other:
            other.sendall(b"first\n")
            client.sendall(b"slow\nbad\nlater\n")
            assert await in_thread(receive_all, client) == b"SLOW\n"
            other.sendall(b"second\n")
            assert await in_thread(receive_exactly, other, 13) == b"FIRST\nSECOND\n"
        await until(lambda: server.statistics().aborted == {"processor error": 1}, "it is counted")
    assert [type(context["exception"]) for context in loop_errors] == [ValueError]
    loop_errors.clear()


@half_closes
@on_all
async def test_a_peer_is_refused_in_words() -> None:
    """The last reply is framed."""

    async def strict(frame: bytes) -> bytes:
        if frame == b"bad":
            raise PeerRefused("it is bad", reply=b"go away")
        return frame

    async with await serve(strict, framing="line", limits=SMALL) as server:
        with connect(server) as client:
            client.sendall(b"good\nbad\n")
            assert await in_thread(receive_all, client) == b"good\ngo away\n"
        await until(lambda: server.statistics().aborted == {"refused": 1}, "it is counted")


@half_closes
@on_all
async def test_one_that_takes_too_long_ends_its_connection() -> None:
    """Behind the replies before it, counted by reason, and cancelled."""
    cancelled = asyncio.Event()

    async def hangs(frame: bytes) -> bytes:
        if frame == b"hang":
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                cancelled.set()
        return frame

    limits = SMALL.replace(processor_timeout_s=0.2)
    async with await serve(hangs, framing="line", limits=limits) as server:
        with connect(server) as client:
            client.sendall(b"a\nhang\nb\n")
            assert await in_thread(receive_all, client) == b"a\n"
        await until(cancelled.is_set, "it was cancelled")
        await until(lambda: "processor timeout" in server.statistics().aborted, "it is counted")
        pending = server.statistics().pending
        assert pending is not None
        assert pending.timeouts == 1


@half_closes
@on_all
async def test_a_late_reply_is_no_late_frame() -> None:
    """Deadlines of the peer do not pass while it waits; that of a frame counts from the replies."""

    async def slow(frame: bytes) -> bytes:
        await asyncio.sleep(0.6)
        return frame

    limits = SMALL.replace(frame_timeout_s=0.1, idle_timeout_s=0.1, first_byte_timeout_s=0.1)
    async with await serve(slow, framing="line", limits=limits) as server:
        with connect(server) as client:
            client.sendall(b"a\npartial")
            assert await in_thread(receive_all, client) == b"a\n"
        await until(lambda: "frame deadline" in server.statistics().aborted, "it is counted")
        assert server.statistics().aborted == {"frame deadline": 1}


@half_closes
@on_all
async def test_requests_that_wait_are_no_unfinished_frame() -> None:
    """A peer that sends without a pause, for longer than a frame may take, has all its replies."""

    async def slow(frame: bytes) -> bytes:
        await asyncio.sleep(0.05)
        return frame

    def send_steadily(sock: socket.socket) -> bytes:
        # Faster than they are answered, each in one piece, so that no part of a frame is kept.
        for number in range(200):
            sock.sendall(b"%063d\n" % number)
            time.sleep(0.003)
        sock.shutdown(socket.SHUT_WR)
        return receive_all(sock)

    limits = SMALL.replace(frame_timeout_s=0.1)
    async with await serve(slow, framing="line", limits=limits) as server:
        with connect(server) as client:
            received = await in_thread(send_steadily, client)
        assert received == b"".join(b"%063d\n" % number for number in range(200))
        assert server.statistics().aborted == {}


@resets
@on_all
async def test_what_runs_is_cancelled_when_its_peer_has_gone() -> None:
    """Also what waits to be begun is forgotten, and nothing of it is kept."""
    running: weakref.WeakSet[Any] = weakref.WeakSet()
    cancelled = 0

    async def waits(frame: bytes) -> bytes:
        nonlocal cancelled
        task = asyncio.current_task()
        running.add(task)
        del task
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return b""

    async with await serve(waits, framing="line", limits=SMALL) as server:
        client = connect(server)
        client.sendall(b"x\n" * 50)
        await until(lambda: len(running) == 8, "as many run as may")
        reset(client)
        await until(lambda: cancelled == 8, "all were cancelled")
        await until(lambda: server.statistics().bridge.lanes == 0, "the lane is closed")
        pending = server.statistics().pending
        assert pending is not None
        assert (pending.requests, pending.running, pending.held_bytes) == (0, 0, 0)
        gc.collect()
        assert not running


@half_closes
@on_all
async def test_drain_waits_for_replies_that_are_still_to_come() -> None:
    """What had arrived is answered, in order, then the connection ends."""
    gate = asyncio.Event()

    async def gated(frame: bytes) -> bytes:
        await gate.wait()
        return frame.upper()

    async with await serve(gated, framing="line", limits=SMALL) as server:
        client = connect(server)
        with client:
            client.sendall(b"".join(b"%d\n" % number for number in range(30)))
            await until(lambda: (found := server.statistics().pending) and found.running == 8, "8")
            draining = asyncio.ensure_future(server.drain())
            await asyncio.sleep(0.05)
            assert not draining.done()
            gate.set()
            assert await in_thread(receive_all, client) == b"".join(
                b"%d\n" % number for number in range(30)
            )
        await draining


@on_all
async def test_drain_ends_at_its_deadline_when_replies_do_not_come() -> None:
    """What runs is cancelled then."""
    cancelled = asyncio.Event()

    async def hangs(frame: bytes) -> bytes:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return frame

    limits = SMALL.replace(drain_timeout_s=0.2)
    async with await serve(hangs, framing="line", limits=limits) as server:
        with connect(server) as client:
            client.sendall(b"x\n")
            await until(lambda: (found := server.statistics().pending) and found.running, "it runs")
            await server.drain()
            await until(cancelled.is_set, "it was cancelled")
            assert sum(server.statistics().aborted.values()) == 1


@on_all
async def test_context_variables_are_those_of_the_connection_and_its_own() -> None:
    """What one request sets, no other sees."""
    var: contextvars.ContextVar[int] = contextvars.ContextVar("var", default=0)

    async def counts(frame: bytes) -> bytes:
        var.set(var.get() + 1)
        await asyncio.sleep(0)
        return b"%d" % var.get()

    async with await serve(counts, framing="line", limits=SMALL) as server:
        with connect(server) as client:
            client.sendall(b"a\nb\nc\n")
            assert await in_thread(receive_exactly, client, 6) == b"1\n1\n1\n"
    with pytest.raises(LookupError, match="outside an asynchronous processor"):
        current_connection_info()


@on_all
async def test_a_reader_that_stops_bounds_what_is_asked_for() -> None:
    """A peer that sends and never reads is not read any more."""
    calls = 0

    async def long(frame: bytes) -> bytes:
        nonlocal calls
        calls += 1
        return frame * 500

    async with await serve(
        long, framing="line", limits=SMALL.replace(high_water_bytes=4096), buffer_bytes=8192
    ) as server:
        client = connect(server, 8192)
        with client:
            sent_bytes = await in_thread(send_until_stuck, client, b"abcd\n" * 2_000_000)
            assert sent_bytes < 10_000_000
            settled = -1

            async def next_look() -> bool:
                nonlocal settled
                before, settled = settled, calls
                await asyncio.sleep(0.2)
                return before == settled == calls

            async with asyncio.timeout(DEADLINE_S):
                while not await next_look():
                    pass
            assert calls * 2500 < 2_000_000
            pending = server.statistics().pending
            assert pending is not None
            assert pending.held_bytes <= 8 * 3000
