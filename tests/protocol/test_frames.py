"""protocol: framed connections over real sockets: answered whole, bounded, ended with a reason."""

import asyncio
import contextlib
import functools
import inspect
import logging
import socket
import struct
import sysconfig
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev import Limits, Reverse, Server
from asyncrev.statistics import PoolStatistics
from tests.framed import (
    NAMES,
    PREFIX_BYTES,
    PROCESSORS,
    Inverting,
    Longer,
    Moody,
    Raising,
    Reversing,
    expected,
    framed,
)
from tests.protocol.served import (
    KIND,
    connect,
    in_thread,
    letters,
    plain_only,
    reset,
    resets,
    serve,
    tcp_only,
)
from tests.strategies import QUICK, frame_lists, split
from tests.support import is_paused, receive_all, receive_exactly, until

pytestmark = plain_only  # over TLS: `test_connections`
on_all = pytest.mark.asyncio


def _one_after_another(names: Iterable[str]) -> Callable[[Any], Any]:
    """Return a decorator of tests that need a `name`: parameters cost more than these tests do."""

    def decorate(test: Any) -> Any:
        @functools.wraps(test)
        async def run(**fixtures: Any) -> None:
            for name in names:
                try:
                    await test(name=name, **fixtures)
                except BaseException as error:
                    error.add_note(f"framing: {name}")
                    raise

        signature = inspect.signature(test)
        parameters = [one for one in signature.parameters.values() if one.name != "name"]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return run

    return decorate


every_framing = _one_after_another(NAMES)
every_prefix = _one_after_another(PREFIX_BYTES)

# One frame of the longest takes the whole pool.
SMALL = Limits(
    slots=8,
    slot_bytes=512,
    in_flight_bytes=2048,
    high_water_bytes=2048,
    overflow_bytes=512,
    max_frame_bytes=8000,
    partial_frame_bytes=1024,
    pool_bytes=16384,
    pool_connection_bytes=16384,
    first_byte_timeout_s=1000,
    frame_timeout_s=1000,
)


class Nobody:
    """A sink that is never called."""


@contextlib.asynccontextmanager
async def served(
    name: str,
    processor: Any = Reversing,
    limits: Limits = SMALL,
    *,
    buffer_bytes: int | None = None,
    **more: Any,
) -> AsyncIterator[Server]:
    """Serve frames on the running loop; at the end nothing of the pool may be in use."""
    server = await serve(processor, framing=name, limits=limits, buffer_bytes=buffer_bytes, **more)
    async with server:
        try:
            yield server
        finally:
            for connection in server.connections:
                connection.abort("end of the test", None)
        await pool_is_empty(server)


def pool(server: Server) -> PoolStatistics:
    """Return what is known of the server's pool."""
    return server.statistics().bridge.pool


async def pool_is_empty(server: Server) -> None:
    """Wait until no block is in use and nothing reserved, by whomever."""

    def is_empty() -> bool:
        stats = server.bridges[0].statistics()
        if not (stats.lanes or stats.pool.in_use_bytes or stats.pool.reserved_bytes):
            return True
        if not server.connections:
            # An idle worker takes lent blocks back some seconds later; this makes it look now.
            bridge = server.bridges[0]
            bridge.close_lane(bridge.open(Nobody(), Reverse, views_allowed=False))  # type: ignore[arg-type]
        return False

    await until(is_empty, "nothing of the pool is in use")


async def connection_of(server: Server, client: socket.socket) -> Any:
    """Return the server's side of `client`."""

    def find() -> Any:
        for connection in server.connections:
            peer = connection._transport.get_extra_info("peername")
            if peer == client.getsockname():
                return connection
        return None

    return await until(find, "the connection is served")


async def talk(
    server: Server, chunks: Sequence[bytes], *, buffer_bytes: int | None = None
) -> bytes:
    """Send `chunks` one by one and the end, reading meanwhile; return all that came back."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX if KIND == "unix" else socket.AF_INET) as client:
        client.setblocking(False)
        if buffer_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        await loop.sock_connect(client, server.addresses[0])

        async def send() -> None:
            for chunk in chunks:
                await loop.sock_sendall(client, chunk)
                await asyncio.sleep(0)
            client.shutdown(socket.SHUT_WR)

        sending = asyncio.create_task(send())
        received = bytearray()
        while part := await loop.sock_recv(client, 1000):
            received += part
        await sending
        return bytes(received)


def answers(name: str, kind: Any, data: bytes) -> bytes:
    """Return what the oracle says to `data` and the end of input."""
    limit = SMALL.max_frame_bytes
    wanted = expected(
        name, data, kind.answer, max_frame_bytes=limit, ends=True, last_word=kind.last_word
    )
    assert wanted.error is None
    return wanted.replies


# -- answers -------------------------------------------------------------------------------------


@on_all
@settings(QUICK, max_examples=12)
@given(
    name=st.sampled_from(NAMES),
    kind=st.sampled_from([kind for kind in PROCESSORS.values() if kind is not Raising]),
    clients=st.lists(
        st.tuples(frame_lists(300), st.lists(st.integers(1, 400), max_size=12)),
        min_size=1,
        max_size=4,
    ),
    slots=st.integers(1, 4),
    entries=st.integers(4, 8),
    slot_bytes=st.sampled_from([1, 16, 64, 1024, 5000]),
    buffer_bytes=st.sampled_from([None, 2048]),
)
async def test_any_frames_of_several_clients_are_answered_as_the_oracle_says(
    name: str,
    kind: Any,
    clients: list[tuple[list[tuple[bytes, bytes]], list[int]]],
    slots: int,
    entries: int,
    slot_bytes: int,
    buffer_bytes: int | None,
) -> None:
    """Tiny rings, tiny slots, any chunking, partial writes: every byte, and then the end."""
    limits = SMALL.replace(
        slots=slots, entries=entries, slot_bytes=slot_bytes, high_water_bytes=100
    )
    data = [
        b"".join(framed(name, payload, line_end) for payload, line_end in frames)
        for frames, _ in clients
    ]
    async with served(name, kind, limits, buffer_bytes=buffer_bytes) as server:
        replies = await asyncio.gather(
            *(
                talk(server, split(sent, lengths), buffer_bytes=buffer_bytes)
                for sent, (_, lengths) in zip(data, clients, strict=True)
            )
        )
        assert replies == [answers(name, kind, sent) for sent in data]
        assert server.statistics().aborted == {}


@on_all
@pytest.mark.slow
@every_framing
async def test_frames_at_every_split_are_answered_over_a_socket(name: str) -> None:
    """Split once at every point; the second part is sent when the first has come in."""
    data = b"".join(framed(name, payload) for payload in (b"hi", b"", b"last"))

    def ask(client: socket.socket, chunk: bytes) -> None:
        with client:
            client.sendall(chunk)
            client.shutdown(socket.SHUT_WR)
            replies.append(receive_all(client))

    replies: list[bytes] = []
    async with served(name) as server:
        for at in range(1, len(data)):
            client = connect(server)
            client.sendall(data[:at])
            connection = await connection_of(server, client)
            await until(
                lambda connection=connection, at=at: connection.received_bytes == at, "it came"
            )
            await in_thread(ask, client, data[at:])
    assert replies == [answers(name, Reversing, data)] * (len(data) - 1)


@on_all
@pytest.mark.slow
@every_framing
async def test_frames_larger_than_slots_of_many_connections_are_answered(
    name: str,
) -> None:
    """A ring of two slots, a pool with budget for all, the least socket buffers."""
    limits = SMALL.replace(slots=2, slot_bytes=64, pool_bytes=8 * 16384)
    clients = [
        b"".join(
            framed(name, letters(nbytes, seed)) for nbytes in (10, 7990 - seed, 0, 1000 + seed, 1)
        )
        for seed in range(8)
    ]
    async with served(name, Inverting, limits, buffer_bytes=4096) as server:
        replies = await asyncio.gather(
            *(talk(server, split(data, [777] * 20), buffer_bytes=4096) for data in clients)
        )
        assert replies == [answers(name, Inverting, data) for data in clients]
        assert server.statistics().bridge.overflows
        assert pool(server).in_use_high_bytes
        assert pool(server).reserved_high_bytes <= limits.pool_bytes


@on_all
@every_framing
async def test_processor_of_the_users_gets_frames_and_has_a_last_word(name: str) -> None:
    """Replies of every kind; a function of bytes does as well."""
    data = b"".join(framed(name, bytes([value]) * value) for value in (14, 15, 16, 17, 18, 19))
    async with served(name, Moody) as server:
        assert await talk(server, split(data, [7] * 9)) == answers(name, Moody, data)
    async with served(name, bytes.upper) as server:
        assert await talk(server, [framed(name, b"abc"), framed(name, b"")]) == (
            framed(name, b"ABC") + framed(name, b"")
        )


@on_all
@tcp_only
@every_framing
async def test_frames_over_tls_are_answered(name: str, contexts: Any) -> None:
    """Replies are encrypted at once, so no block is lent for them."""
    data = b"".join(framed(name, letters(nbytes)) for nbytes in (10, 7000, 0, 3000))

    def ask(client: socket.socket) -> bytes:
        with contexts[1].wrap_socket(client, server_hostname="localhost") as tls:
            tls.sendall(data)
            return receive_exactly(tls, len(data))

    async with served(name, Inverting, ssl=contexts[0]) as server:
        replies = await in_thread(ask, connect(server))
        assert replies == answers(name, Inverting, data)
        assert pool(server).reclaimed == 0


# -- budget of the pool --------------------------------------------------------------------------


async def hog_the_pool(server: Server, name: str) -> tuple[socket.socket, Any]:
    """Return a client that has all but the last byte of a longest frame there, and its connection.

    The worker has seen all of it: by what is back from there a deadline is judged.
    """
    frame = framed(name, letters(8000))
    hog = connect(server)
    await in_thread(hog.sendall, frame[:-1])
    connection = await connection_of(server, hog)
    await until(
        lambda: (
            connection.received_bytes == len(frame) - 1
            and pool(server).reserved_bytes == 16384
            and not connection._lane.in_flight_entries
        ),
        "the pool is used up",
    )
    return hog, connection


async def stopped(server: Server, client: socket.socket, data: bytes) -> "asyncio.Task[Any]":
    """Have `client` send `data` and wait until it is stopped for want of budget."""
    before = pool(server).waiting_lanes
    sending = asyncio.create_task(in_thread(client.sendall, data))
    connection = await connection_of(server, client)
    await until(lambda: pool(server).waiting_lanes == before + 1, "it waits for budget")
    assert is_paused(connection)
    assert connection.received_bytes <= SMALL.partial_frame_bytes
    return sending


@on_all
@every_framing
async def test_who_needs_budget_waits_and_others_go_on(name: str) -> None:
    """I15: small frames are answered meanwhile; all are when the budget comes back, in order."""
    frame = framed(name, letters(4000, 1))
    async with served(name) as server:
        hog, _ = await hog_the_pool(server, name)
        waiting = [connect(server) for _ in range(3)]
        sending = [await stopped(server, client, frame) for client in waiting]
        assert pool(server).refused >= 3
        with connect(server) as small:
            for number in range(50):
                payload = letters(number * 10, number)
                await in_thread(small.sendall, framed(name, payload))
                reply = await in_thread(receive_exactly, small, len(framed(name, payload)))
                assert reply == framed(name, payload[::-1])
        assert pool(server).waiting_lanes == 3
        assert pool(server).reserved_bytes <= SMALL.pool_bytes
        hog.sendall(framed(name, letters(8000))[-1:])
        replies = await in_thread(receive_exactly, hog, len(framed(name, letters(8000))))
        assert replies == framed(name, letters(8000)[::-1])
        for client in waiting:
            reply = await in_thread(receive_exactly, client, len(frame))
            assert reply == framed(name, letters(4000, 1)[::-1])
        await asyncio.gather(*sending)
        assert pool(server).waiting_lanes == 0
        assert server.statistics().aborted == {}
        for client in (hog, *waiting):
            client.close()


@on_all
@resets
@pytest.mark.parametrize("how", ["frame deadline", "reset", "too large"])
@every_framing
async def test_budget_of_an_aborted_peer_goes_to_the_next(name: str, how: str) -> None:
    """Whatever ends the connection that has it."""
    frame = framed(name, letters(4000, 1))
    async with served(name) as server:
        hog, connection = await hog_the_pool(server, name)
        client = connect(server)
        sending = await stopped(server, client, frame)
        if how == "frame deadline":
            server.bridges[0].parts.sweep.stop()  # time is virtual here
            connection.on_sweep(1_000_000.0)
            connection.on_sweep(1_001_000.0)
            assert await in_thread(receive_all, hog) == b""
        elif how == "reset":
            reset(hog)
        elif name == "line":
            hog.sendall(b"aa")
        else:
            hog.sendall(b"a" + b"\xff" * 8)
            assert await in_thread(receive_exactly, hog, len(framed(name, letters(8000))))
        reply = await in_thread(receive_exactly, client, len(frame))
        assert reply == framed(name, letters(4000, 1)[::-1])
        await sending
        client.close()
        hog.close()


# -- what ends a connection ----------------------------------------------------------------------


@on_all
@pytest.mark.parametrize("follows", [0, 100_000], ids=["alone", "with more behind"])
@every_framing
async def test_frame_that_is_too_large_ends_its_connection_after_earlier_replies(
    name: str, follows: int, caplog: pytest.LogCaptureFixture
) -> None:
    """FIN, a line in the log with both values, counted; a neighbour is not touched."""
    caplog.clear()
    if name == "line":
        sent, actual = b"a" * 8001 + b"\n", "8001 bytes"
    else:
        sent, actual = (2**31).to_bytes(PREFIX_BYTES[name], "big"), f"{2**31} bytes"

    def attack(client: socket.socket) -> bytes:
        with client:
            client.sendall(framed(name, b"first") + framed(name, b"second") + sent)
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                client.sendall(b"a" * follows)
            return receive_all(client)

    async with served(name) as server:
        neighbour = connect(server)
        await in_thread(neighbour.sendall, framed(name, letters(2000))[:-1])
        with caplog.at_level(logging.WARNING, "asyncrev"):
            replies = await in_thread(attack, connect(server))
            await until(lambda: server.statistics().aborted, "it was counted")
        assert replies == framed(name, b"tsrif") + framed(name, b"dnoces")
        assert server.statistics().aborted == {"frame too large": 1}
        (record,) = caplog.records
        assert "closed: " in record.getMessage()
        assert actual in record.getMessage()
        assert "max_frame_bytes is 8000" in record.getMessage()
        neighbour.sendall(framed(name, letters(2000))[-1:])
        reply = await in_thread(receive_exactly, neighbour, len(framed(name, letters(2000))))
        assert reply == framed(name, letters(2000)[::-1])
        neighbour.close()
        assert server.statistics().bridge.processor_errors == 0


@on_all
@every_prefix
async def test_announced_length_is_judged_by_the_limit(name: str) -> None:
    """0 and the limit are taken; what is more is not, however large the number."""
    prefix_bytes = PREFIX_BYTES[name]
    async with served(name) as server:
        for announced in (0, 8000, 8001, 2**32 - 1, 2**63):
            prefix = min(announced, 256**prefix_bytes - 1).to_bytes(prefix_bytes, "big")
            with connect(server) as client:
                client.sendall(prefix)
                if announced > 8000:
                    assert await in_thread(receive_all, client) == b""
                else:
                    await in_thread(client.sendall, letters(announced))
                    reply = await in_thread(receive_exactly, client, prefix_bytes + announced)
                    assert reply == prefix + letters(announced)[::-1]
        await until(lambda: not server.connections, "all are lost")
        assert server.statistics().aborted == {"frame too large": 3}


@on_all
@resets
@every_framing
async def test_reset_within_a_frame_gives_all_back(name: str) -> None:
    """Ten of them, with more than a slot of their frame there."""
    limits = SMALL.replace(pool_bytes=10 * 16384)
    frame = framed(name, letters(8000))
    async with served(name, limits=limits) as server:
        clients = [connect(server) for _ in range(10)]
        for client in clients:
            await in_thread(client.sendall, framed(name, b"whole") + frame[:5000])
            assert await in_thread(receive_exactly, client, len(framed(name, b"whole")))
        await until(
            lambda: (
                pool(server).in_use_bytes == 10 * 8192 and pool(server).reserved_bytes == 10 * 8192
            ),
            "all of it is there",
        )
        for client in clients:
            reset(client)
        await pool_is_empty(server)
        assert server.statistics().connections == 0


@on_all
@every_prefix
async def test_end_of_input_within_a_frame_is_counted_and_told(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The frames before it are answered, then comes the end of stream."""
    caplog.clear()
    data = framed(name, b"first") + framed(name, b"second")[:-1]
    with caplog.at_level(logging.WARNING, "asyncrev"):
        async with served(name, Longer) as server:
            assert await talk(server, [data]) == framed(name, b"firstfirstfirst!")
            await until(lambda: server.statistics().aborted, "it was counted")
            assert server.statistics().aborted == {"incomplete frame": 1}
    (record,) = caplog.records
    assert f"{len(data) - len(framed(name, b'first'))} bytes of" in record.getMessage()


@on_all
@every_framing
async def test_drain_within_a_frame_answers_what_is_whole(name: str) -> None:
    """An unfinished frame is nobody's fault then; an unfinished line is answered as the last."""
    frame = framed(name, letters(3000))
    async with served(name) as server:
        client = connect(server)
        await in_thread(client.sendall, framed(name, b"whole") + frame[:2000])
        connection = await connection_of(server, client)
        await until(
            lambda: connection.received_bytes == len(framed(name, b"whole")) + 2000, "it came"
        )
        draining = asyncio.create_task(server.drain())
        replies = await in_thread(receive_all, client)
        client.close()
        assert await draining
        rest = frame[1999::-1] if name == "line" else b""
        assert replies == framed(name, b"elohw") + rest
        assert server.statistics().aborted == {}


@on_all
@every_framing
async def test_processor_that_fails_within_a_chunk_has_answered_the_frames_before(
    name: str, loop_errors: list[dict[str, Any]]
) -> None:
    """In one chunk with frames on both sides, and in a frame that spans chunks."""
    whole = framed(name, b"a") + framed(name, b"b") + framed(name, b"!") + framed(name, b"c")
    large = framed(name, b"a") + framed(name, letters(2000) + b"!") + framed(name, b"c")
    for data, replies in ((whole, whole[: 2 * len(framed(name, b"a"))]), (large, None)):
        async with served(name, Raising) as server:
            assert await talk(server, [data]) == (replies or framed(name, b"a"))
            (context,) = loop_errors
            assert isinstance(context["exception"], ValueError)
            assert context["protocol"].abort_reason == "processor error"
            loop_errors.clear()
            del context
            assert server.statistics().bridge.processor_errors == 1


# -- a steady state ------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def one_thread() -> AsyncIterator[Callable[..., Any]]:
    """Give an `in_thread` that has one thread for all calls.

    The loop's own executor may begin another while one is idle; on a free-threaded build each is
    traced with 256 KiB.
    """
    with ThreadPoolExecutor(1) as executor:
        yield functools.partial(asyncio.get_running_loop().run_in_executor, executor)


@tcp_only
@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_frames_that_span_chunks_allocate_no_buffer_in_a_steady_state() -> None:
    """200 frames of 400 KB, reversed: no block is made, and nothing nearly as long as a frame."""
    frame_bytes, frames = 400_000, 200
    limits = Limits(slots=8, slot_bytes=32 * 1024, max_frame_bytes=1 << 20)
    request = struct.pack(">I", frame_bytes) + letters(frame_bytes)
    wanted = request[:4] + request[:3:-1]
    reply = memoryview(bytearray(len(request)))

    def ask(client: socket.socket, count: int) -> None:
        for _ in range(count):
            client.sendall(request)
            got = 0
            while got < len(reply):
                nbytes = client.recv_into(reply[got:])
                assert nbytes
                got += nbytes
            assert reply == wanted

    async with (
        one_thread() as in_one_thread,
        served("len32", Reverse, limits, buffer_bytes=1 << 20) as server,
    ):
        client = connect(server, 1 << 20)
        await in_one_thread(ask, client, 20)
        before = pool(server)
        tracemalloc.start()
        try:
            await in_one_thread(ask, client, 10)  # what tracing and the first traces need
            filters = [
                tracemalloc.Filter(True, f"*/asyncrev/{name}.py") for name in ("pool", "ring")
            ]
            held_bytes = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            await in_one_thread(ask, client, frames)
            peak_bytes = tracemalloc.get_traced_memory()[1]
            snapshot = tracemalloc.take_snapshot().filter_traces(filters)
        finally:
            tracemalloc.stop()
        send_buffer_bytes = client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        client.close()
        after = pool(server)
        assert after.leases - before.leases >= frames
        assert after.allocations == before.allocations
        assert after.reclaimed - before.reclaimed >= frames - 1
        # Counters and the like; the least block has 256 bytes. A free-threaded build makes the
        # memory of a list anew whenever it grows, here that of the free entries.
        least_bytes = 4096 if sysconfig.get_config_var("Py_GIL_DISABLED") else 256
        assert max((trace.size for trace in snapshot.traces), default=0) < least_bytes
        # Reverse's scratch has 64 KiB. Where net.core.wmem_max is low, replies wait in the write
        # buffer.
        if send_buffer_bytes >= 4 * frame_bytes:
            assert peak_bytes - held_bytes < 150_000
