"""protocol: every deadline ends its connection, and what the peer then sees."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

import asyncrev
from asyncrev import Limits, Server
from asyncrev.connection.deadlines import Deadlines
from asyncrev.connection.socket_probe import unacknowledged_bytes
from tests.framed import Inverting, framed
from tests.protocol.served import gated_swapcase, in_thread, letters, tcp_only
from tests.support import DEADLINE_S, receive_all, receive_exactly, until

pytestmark = tcp_only  # time is the same over all connections
on_all = pytest.mark.asyncio
on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])

# So long that nothing passes by itself: time is an argument of `on_sweep`.
VIRTUAL = Limits(
    slots=8,
    slot_bytes=4096,
    high_water_bytes=4096,
    max_frame_bytes=8000,
    first_byte_timeout_s=1000,
    idle_timeout_s=3000,
    frame_timeout_s=2000,
    write_stall_timeout_s=4000,
)
INF = float("inf")
BUFFER_BYTES = 8192


@contextlib.asynccontextmanager
async def served(
    limits: Limits,
    name: str = "len32",
    processor: Any = Inverting,
    send_buffer_bytes: int = BUFFER_BYTES,
    **more: Any,
) -> AsyncIterator[Server]:
    """Serve frames on the running loop, into small socket buffers."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    listening.bind(("127.0.0.1", 0))
    listening.listen(100)
    server = await asyncrev.serve(
        sock=listening, processor=processor, framing=name, limits=limits, **more
    )
    async with server:
        yield server


def connect(server: Server) -> socket.socket:
    """Return a blocking client with a deadline and a small receive buffer."""
    client = socket.socket()
    client.settimeout(DEADLINE_S)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    client.connect(("127.0.0.1", server.port))
    return client


async def only_connection(server: Server) -> Any:
    """Return the server's side of its only connection."""
    return await until(lambda: next(iter(server.connections), None), "it is served")


async def answered(server: Server, client: socket.socket, data: bytes) -> None:
    """Send whole frames and take the replies; return when the server knows that."""
    await in_thread(client.sendall, data)
    assert len(await in_thread(receive_exactly, client, len(data))) == len(data)
    connection = await only_connection(server)
    await until(lambda: not connection._lane.in_flight_entries, "nothing is in flight")


async def arrived(server: Server, client: socket.socket, data: bytes) -> Any:
    """Send what ends within a frame; return the connection once the worker is done."""
    await in_thread(client.sendall, data)
    connection = await only_connection(server)

    def is_back() -> bool:
        return connection._lane.partial_frame_bytes > 0 and not connection._lane.in_flight_entries

    await until(is_back, "the beginning of a frame is kept")
    return connection


async def gone(server: Server, reason: str) -> None:
    """Wait until no connection is left; the one that was must be counted."""
    await until(lambda: not server.connections, "it is lost")
    assert server.statistics().aborted == {reason: 1}


class Sweeps:
    """Sweeps one connection in virtual time; its bridge's own sweep, in real time, is stopped.

    What that saw by then is forgotten, since by virtual time it was long ago.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.start_s = 1_000_000.0
        connection._bridge.parts.sweep.stop()
        connection._deadlines = Deadlines(connection._settings.limits)

    def at(self, now_s: float) -> str | None:
        """Sweep; return why the connection was ended, if it was."""
        self.connection.on_sweep(self.start_s + now_s)
        reason: str | None = self.connection.abort_reason
        return reason


# -- in virtual time -----------------------------------------------------------------------------


@on_all
async def test_first_byte_deadline_ends_a_silent_connection_in_virtual_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """FIN; a line with both values."""
    async with served(VIRTUAL) as server:
        client = connect(server)
        sweeps = Sweeps(await only_connection(server))
        assert sweeps.at(0) is None
        assert sweeps.at(999.9) is None
        with caplog.at_level(logging.INFO, "asyncrev"):
            assert sweeps.at(1000) == "first byte deadline"
        assert "first_byte_timeout_s is 1000" in caplog.text
        assert await in_thread(receive_all, client) == b""
        client.close()
        await gone(server, "first byte deadline")


@on_all
async def test_idle_connection_is_passed_over_until_its_deadline_or_its_next_byte() -> None:
    """Ten thousand of them would cost two percent of a core to look at; a drain looks again."""
    async with served(VIRTUAL) as server:
        client = connect(server)
        await answered(server, client, framed("len32", b"abc"))
        connection = await only_connection(server)
        sweeps = Sweeps(connection)
        lane = connection._lane
        assert lane.look_at_s == 0.0
        assert sweeps.at(0) is None
        assert lane.look_at_s == sweeps.start_s + 3000
        await answered(server, client, framed("len32", b"abc"))
        assert lane.look_at_s == 0.0
        assert sweeps.at(100) is None
        assert lane.look_at_s == sweeps.start_s + 3100
        await arrived(server, client, framed("len32", b"abc")[:5])
        assert sweeps.at(200) is None
        assert lane.look_at_s == 0.0
        client.sendall(framed("len32", b"abc")[5:])
        assert len(await in_thread(receive_exactly, client, 7)) == 7
        await until(lambda: not lane.in_flight_entries, "nothing is in flight")
        assert sweeps.at(300) is None
        assert lane.look_at_s > 0.0
        connection.drain()
        assert lane.look_at_s == 0.0
        assert await in_thread(receive_all, client) == b""
        client.close()


@on_all
async def test_idle_deadline_ends_a_connection_between_frames_in_virtual_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """FIN behind the replies that it has had all the time to take."""
    async with served(VIRTUAL) as server:
        client = connect(server)
        await answered(server, client, framed("len32", b"abc"))
        sweeps = Sweeps(await only_connection(server))
        assert sweeps.at(0) is None
        assert sweeps.at(2999) is None
        await answered(server, client, framed("len32", b"abc"))
        assert sweeps.at(3000) is None
        assert sweeps.at(5999.9) is None
        with caplog.at_level(logging.INFO, "asyncrev"):
            assert sweeps.at(6000) == "idle deadline"
        assert "idle_timeout_s is 3000" in caplog.text
        assert await in_thread(receive_all, client) == b""
        client.close()
        await gone(server, "idle deadline")


@on_all
async def test_frame_deadline_ends_who_sends_a_byte_now_and_then_in_virtual_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Earlier replies arrive, then FIN; what of the frame was there comes back to the pool."""
    whole, frame = framed("len32", b"whole"), framed("len32", letters(100))
    async with served(VIRTUAL) as server:
        client = connect(server)
        connection = await arrived(server, client, whole + frame[:9])
        sweeps = Sweeps(connection)
        for second in range(10):
            assert sweeps.at(200 * second) is None
            await arrived(server, client, frame[9 + second : 10 + second])
            await until(
                lambda second=second: connection.received_bytes == len(whole) + 10 + second,
                "the byte came",
            )
            await until(lambda: not connection._lane.in_flight_entries, "it is back")
        with caplog.at_level(logging.WARNING, "asyncrev"):
            assert sweeps.at(2000) == "frame deadline"
        assert "frame_timeout_s is 2000" in caplog.text
        assert await in_thread(receive_all, client) == framed("len32", Inverting.answer(b"whole"))
        client.close()
        await gone(server, "frame deadline")
        await until(lambda: server.statistics().bridge.pool.in_use_bytes == 0, "the block is back")
        assert server.statistics().bridge.pool.reserved_bytes == 0


@on_all
async def test_frame_that_is_completed_before_the_deadline_starts_the_next_ones_time() -> None:
    """By the same chunk that begins the next one."""
    frame = framed("len32", letters(100))
    async with served(VIRTUAL) as server:
        client = connect(server)
        connection = await arrived(server, client, frame[:50])
        sweeps = Sweeps(connection)
        assert sweeps.at(0) is None
        seq = connection._lane.frame_seq
        await in_thread(client.sendall, frame[50:] + frame[:50])
        await until(lambda: connection._lane.frame_seq > seq, "another frame is kept")
        await until(lambda: not connection._lane.in_flight_entries, "it is back")
        assert sweeps.at(1999) is None
        assert sweeps.at(3998.9) is None
        assert sweeps.at(3999) == "frame deadline"
        client.close()
        await gone(server, "frame deadline")


@on_all
async def test_frame_deadline_ends_who_has_a_byte_on_its_way_at_every_sweep() -> None:
    """Sent in time with the sweeps, a byte now and then used to keep a frame open for ever."""
    async with served(VIRTUAL) as server:
        with connect(server) as client:
            connection = await arrived(server, client, (8000).to_bytes(4, "big"))
            sweeps = Sweeps(connection)
            assert sweeps.at(0) is None
            for now_s in (500, 1500, 2500, 3500):
                assert connection.abort_reason is None
                connection.get_buffer(-1)[:1] = (
                    b"x"  # what a transport does, with a sweep right behind
                )
                connection.buffer_updated(1)
                reason = sweeps.at(now_s)
                assert reason == ("frame deadline" if now_s == 3500 else None)
                await until(
                    lambda: connection._lane is None or not connection._lane.in_flight_entries,
                    "it is back",
                )
        await gone(server, "frame deadline")


@on_all
async def test_deadlines_wait_while_the_worker_is_at_it() -> None:
    """It is we who are late: nobody is aborted for that."""
    gate, gated = gated_swapcase()
    async with served(VIRTUAL, processor=gated) as server:
        client = connect(server)
        await in_thread(client.sendall, framed("len32", b"abc"))
        connection = await only_connection(server)
        await until(lambda: connection._lane.in_flight_entries, "it is on its way")
        sweeps = Sweeps(connection)
        assert sweeps.at(0) is None
        assert sweeps.at(1_000_000) is None
        gate.set()
        assert await in_thread(receive_exactly, client, 7) == framed("len32", b"ABC")
        client.close()


async def stalled(server: Server, client: socket.socket) -> Any:
    """Have `client` send without reading until nothing moves any more; return the connection."""
    data = framed("len32", letters(4000)) * 10_000
    loop = asyncio.get_running_loop()
    client.setblocking(False)
    sending = asyncio.create_task(loop.sock_sendall(client, data))
    connection = await only_connection(server)
    await until(lambda: connection._transport.get_write_buffer_size(), "replies wait")
    seen: list[Any] = []

    def settled() -> bool:
        stats = server.bridges[0].statistics()
        seen.append((connection.received_bytes, connection._transport.get_write_buffer_size()))
        return len(seen) > 20 and len(set(seen[-20:])) == 1 and stats.published == stats.released

    await until(settled, "nothing moves any more")
    sending.cancel()
    await asyncio.wait([sending])
    client.setblocking(True)
    client.settimeout(DEADLINE_S)
    return connection


def receive_to_a_reset(client: socket.socket) -> bool:
    """Take what is there; return whether it ends with a reset."""
    try:
        receive_all(client)
    except ConnectionResetError:
        return True
    return False


@on_all
async def test_write_stall_resets_who_takes_nothing_in_virtual_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """RST, so that it cannot mistake a truncated reply for a complete one."""
    # What it has begun to send is not read to its end, so it would be late with its frame, too.
    async with served(VIRTUAL.replace(frame_timeout_s=INF)) as server:
        client = connect(server)
        sweeps = Sweeps(await stalled(server, client))
        assert sweeps.at(0) is None
        assert sweeps.at(3999.9) is None
        with caplog.at_level(logging.WARNING, "asyncrev"):
            assert sweeps.at(4000) == "write stall"
        assert "write_stall_timeout_s is 4000" in caplog.text
        assert await in_thread(receive_to_a_reset, client)
        await gone(server, "write stall")
        client.close()


@on_all
async def test_write_stall_is_not_seen_in_who_takes_what_the_kernel_holds() -> None:
    """A slow reader was aborted: it lived on megabytes in kernels, which took none of ours."""
    limits = VIRTUAL.replace(frame_timeout_s=INF)
    async with served(limits, send_buffer_bytes=1 << 20) as server:
        client = connect(server)
        connection = await stalled(server, client)
        sweeps = Sweeps(connection)
        write_buffer_bytes = connection._transport.get_write_buffer_size()
        for look in range(4):
            assert sweeps.at(3000 * look) is None
            held_bytes = unacknowledged_bytes(connection._transport)
            while unacknowledged_bytes(connection._transport) == held_bytes:
                client.recv(2048)
                await asyncio.sleep(0.001)
        assert connection._transport.get_write_buffer_size() == write_buffer_bytes
        assert sweeps.at(12_000) is None
        assert sweeps.at(15_999) is None
        assert sweeps.at(16_000) == "write stall"
        await gone(server, "write stall")
        client.close()


# -- in real time --------------------------------------------------------------------------------
# On one loop: the sweep is the same on all of them.


@on_epoll
async def test_first_byte_deadline_ends_a_silent_connection_in_real_time() -> None:
    """Another, that sends in time, is not touched."""
    async with served(Limits(first_byte_timeout_s=0.2)) as server:
        silent = connect(server)
        with connect(server) as other:
            await in_thread(other.sendall, framed("len32", b"a"))
            assert await in_thread(receive_all, silent) == b""
            await until(lambda: server.statistics().aborted, "it is counted")
            assert server.statistics().aborted == {"first byte deadline": 1}
            assert await in_thread(receive_exactly, other, 5)
        silent.close()


@on_epoll
@pytest.mark.slow
async def test_idle_deadline_ends_a_connection_in_real_time() -> None:
    """After its reply."""
    async with served(Limits(idle_timeout_s=0.2)) as server:
        client = connect(server)
        await in_thread(client.sendall, framed("len32", b"abc"))
        reply = framed("len32", Inverting.answer(b"abc"))
        assert await in_thread(receive_all, client) == reply
        client.close()
        await gone(server, "idle deadline")


@on_epoll
async def test_frame_deadline_ends_who_sends_a_byte_now_and_then_in_real_time() -> None:
    """A byte every few milliseconds, for as long as it gets away with it."""

    def dribble(client: socket.socket) -> bytes:
        client.sendall(framed("len32", b"abc") + b"\0\0\x10\0")
        client.settimeout(0.01)
        received = b""
        while True:
            try:
                part = client.recv(100)
                if not part:
                    return received
                received += part
            except TimeoutError:
                client.send(b"x")

    limits = Limits(frame_timeout_s=0.2, first_byte_timeout_s=INF, idle_timeout_s=INF)
    async with served(limits) as server:
        client = connect(server)
        replies = await in_thread(dribble, client)
        assert replies == framed("len32", Inverting.answer(b"abc"))
        client.close()
        await gone(server, "frame deadline")


@on_epoll
@pytest.mark.slow
async def test_write_stall_resets_who_takes_nothing_in_real_time() -> None:
    """It sends for as long as the kernel takes it, and reads nothing."""
    limits = VIRTUAL.replace(write_stall_timeout_s=0.3)

    def send(client: socket.socket) -> bool:
        try:
            while True:
                client.sendall(framed("len32", letters(4000)))
        except (ConnectionResetError, BrokenPipeError):
            return True

    async with served(limits) as server:
        client = connect(server)
        assert await in_thread(send, client)
        await gone(server, "write stall")
        client.close()


@on_all
async def test_tls_handshake_deadline_ends_who_does_not_begin_it_in_real_time(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """They are not yet connections, but counted like some, whatever the clock's last digit."""
    async with served(Limits(tls_handshake_timeout_s=0.1), ssl=contexts[0]) as server:
        clients = []
        for number in range(16):
            clients.append(connect(server))
            await until(
                lambda number=number: server.connections.accepted == number + 1, "it is accepted"
            )
        for client in clients:
            assert await in_thread(receive_all, client) == b""
            client.close()
        await until(lambda: not server.connections.arriving, "all have gone")
        assert server.statistics().aborted == {"TLS handshake deadline": 16}
