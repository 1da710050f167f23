"""Small chunks that are answered in the loop: when, and that order is kept all the same."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asyncrev import Limits, Reverse, Server
from tests.protocol.served import connect, in_thread, plain_only, serve
from tests.support import ask, receive_all, receive_exactly, until

pytestmark = [pytest.mark.asyncio, plain_only]

INLINE = Limits(inline_below_bytes=100, slots=4, slot_bytes=4096)


@contextlib.asynccontextmanager
async def served(processor: Any = Reverse, **settings: Any) -> AsyncIterator[Server]:
    """A server that may answer inline."""
    async with await serve(processor, **{"limits": INLINE, **settings}) as server:
        yield server


async def test_small_chunks_are_answered_without_the_worker() -> None:
    """Up to the limit; a longer one goes through the ring, and small ones behind it do not."""
    async with served() as server:
        with connect(server) as client:
            for _ in range(3):
                assert await in_thread(ask, client, b"abc") == b"cba"
            found = server.bridges[0].statistics()
            assert (found.inlined, found.published) == (3, 0)
            long = bytes(range(100))
            assert await in_thread(ask, client, long) == long[::-1]
            await until(lambda: server.bridges[0].statistics().released == 1, "it has come back")
            assert await in_thread(ask, client, b"xyz") == b"zyx"
            found = server.bridges[0].statistics()
            assert (found.inlined, found.published) == (4, 1)
            client.shutdown(socket.SHUT_WR)
            assert await in_thread(receive_all, client) == b""
        assert server.statistics().received_bytes == server.statistics().replied_bytes == 112


class Held(Reverse):
    """Reverses long chunks only when it is let go; it says that it may run inline."""

    go = threading.Event()

    def process(self, chunk: memoryview) -> memoryview | bytes:
        """Wait on the worker's thread only."""
        if len(chunk) >= 100:
            self.go.wait()
        return super().process(chunk)


async def test_small_chunk_behind_one_that_is_in_flight_waits_for_it() -> None:
    """Order before latency."""
    Held.go.clear()
    async with served(Held) as server:
        with connect(server) as client, connect(server) as other:
            client.sendall(b"a" * 100)
            await until(lambda: server.bridges[0].statistics().published == 1, "it is in flight")
            client.sendall(b"xyz")
            await until(lambda: server.bridges[0].statistics().published == 2, "so is the next one")
            assert await in_thread(ask, other, b"abc") == b"cba"  # it has nothing in flight
            Held.go.set()
            assert await in_thread(receive_exactly, client, 103) == b"a" * 100 + b"zyx"
            assert server.bridges[0].statistics().inlined == 1


@pytest.mark.parametrize(
    ("processor", "settings"),
    [
        (Reverse, {"limits": Limits(slots=4, slot_bytes=4096)}),
        (lambda data: data[::-1], {}),
        (type("Stateful", (Reverse,), {"may_run_inline": False}), {}),
        (Reverse, {"framing": "line"}),
    ],
    ids=["not asked for", "function", "does not say so", "framed"],
)
async def test_nothing_runs_inline_that_must_not(processor: Any, settings: dict[str, Any]) -> None:
    """It takes the setting, the processor's word, and raw chunks."""
    async with served(processor, **settings) as server:
        with connect(server) as client:
            reply = await in_thread(ask, client, b"abc\n")
            assert sorted(reply) == sorted(b"abc\n")
        assert server.bridges[0].statistics().inlined == 0


async def test_function_that_declares_it_runs_inline() -> None:
    """As a class does; also the function of a server."""

    def upper(data: bytes) -> bytes:
        return data.upper()

    upper.__dict__["may_run_inline"] = True
    async with served(upper) as server:
        with connect(server) as client:
            assert await in_thread(ask, client, b"abc") == b"ABC"
        assert server.bridges[0].statistics().inlined == 1


class Failing(Reverse):
    """Fails on the loop's thread as on any."""

    def process(self, chunk: memoryview) -> memoryview | bytes:
        """Raise, if asked to."""
        if chunk[:4] == b"exit":
            raise SystemExit(3)
        if chunk[:4] == b"fail":
            raise ValueError("deliberate")
        return super().process(chunk)


@pytest.mark.parametrize("word", [b"fail", b"exit"])
async def test_processor_that_fails_inline_ends_its_connection_only(
    word: bytes, loop_errors: list[dict[str, Any]]
) -> None:
    """Replies before it have gone out; the loop's exception handler gets the exception."""
    async with served(Failing) as server:
        with connect(server) as client, connect(server) as other:
            assert await in_thread(ask, client, b"abc") == b"cba"
            client.sendall(word)
            assert await in_thread(receive_all, client) == b""
            assert await in_thread(ask, other, b"abc") == b"cba"
        await until(lambda: not server.connections, "both are lost")
        assert server.statistics().aborted == {"processor error": 1}
        assert server.bridges[0].statistics().processor_errors == 1
    assert [type(context["exception"]) for context in loop_errors] == [
        ValueError if word == b"fail" else SystemExit
    ]
    loop_errors.clear()


async def test_drain_answers_small_chunks_inline_too() -> None:
    """What the kernel holds is read and answered, then the end."""
    async with served() as server:
        with connect(server) as client:
            assert await in_thread(ask, client, b"abc") == b"cba"
            client.sendall(b"xyz")
            draining = asyncio.ensure_future(server.drain())
            assert await in_thread(receive_exactly, client, 3) == b"zyx"
            assert await in_thread(receive_all, client) == b""
        assert await draining
