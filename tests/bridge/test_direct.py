"""direct: what goes past the protocol of a connection, and what does not."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import asyncrev
from asyncrev import Bridge, BridgeProtocol, Limits
from asyncrev.bridge.delivery import DELIVERY_ENTRIES
from asyncrev.connection.reading import WRITE_BUFFER_FULL
from tests.planes import python_plane_only
from tests.support import DEADLINE_S, is_paused, reset, until, wait_until

EPOLL = pytest.mark.asyncio(loop_factories=["epoll"])
SMALL = Limits(slots=4, slot_bytes=1024, in_flight_bytes=4096, high_water_bytes=4096)


class Connected:
    """A connection on a bridge, and its peer."""

    def __init__(self, bridge: Bridge, connection: Any, peer: socket.socket) -> None:
        self.bridge, self.connection, self.peer = bridge, connection, peer
        self.chunks = 0
        self.loop = asyncio.get_running_loop()
        inner = connection.buffer_updated

        def counting(nbytes: int) -> None:
            self.chunks += 1
            inner(nbytes)

        connection.buffer_updated = counting

    @property
    def is_served(self) -> bool:
        """Whether the plane has its socket."""
        return self.bridge.parts.plane.served == 1

    async def ask(self, data: bytes) -> bytes:
        """Send `data`, and return as many bytes."""
        await self.loop.sock_sendall(self.peer, data)
        return await self.receive(len(data))

    async def receive(self, nbytes: int) -> bytes:
        """Return as many bytes, or what came before the end."""
        got = b""
        async with asyncio.timeout(DEADLINE_S):
            while len(got) < nbytes and (part := await self.loop.sock_recv(self.peer, 65536)):
                got += part
        return got


@asynccontextmanager
async def connected(
    processor: Any = asyncrev.Reverse,
    limits: Limits = SMALL,
    cls: Any = BridgeProtocol,
    **more: Any,
) -> AsyncIterator[Connected]:
    """A bridge with one connection over a socket pair."""
    async with Bridge(limits) as bridge:
        mine, peer = socket.socketpair()
        mine.setblocking(False)
        peer.setblocking(False)
        for sock in (mine, peer):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: cls(bridge, processor, **more), sock=mine
        )
        try:
            yield Connected(bridge, connection, peer)
        finally:
            connection.abort("the test is over", None)
            peer.close()
            await until(lambda: not bridge.open_lanes, "the lane is gone")
            assert bridge.parts.plane.served == 0


@EPOLL
@pytest.mark.parametrize("framing", ["line", "len32"])
async def test_frames_go_past_the_protocol_too(framing: str) -> None:
    """Large ones, for which the lane must reserve, included; everything is given back."""
    limits = Limits(slots=4, slot_bytes=16384, max_frame_bytes=1 << 20, pool_bytes=8 << 20)
    async with connected(_Echo, limits, framing=framing) as one:
        for nbytes in (1, 3000, 5000, 300_000, 10):
            payload = b"x" * nbytes
            frame = payload + b"\n" if framing == "line" else nbytes.to_bytes(4, "big") + payload
            sending = asyncio.create_task(one.loop.sock_sendall(one.peer, frame))
            assert await one.receive(len(frame)) == frame
            await sending
        pool = one.bridge.statistics().pool
        assert pool.reserved_high_bytes > 300_000
        assert pool.reserved_bytes == 0
        assert one.connection.received_bytes == one.connection.replied_bytes > 300_000
        assert is_paused(one.connection) is False


@EPOLL
async def test_chunks_and_replies_go_past_the_protocol_and_are_counted() -> None:
    """The first, of a lane that has no processor yet, and later ones."""
    async with connected() as one:
        assert one.is_served
        for data in (b"abc", b"defg"):
            assert await one.ask(data) == data[::-1]
        assert one.chunks == 0
        assert (one.connection.received_bytes, one.connection.replied_bytes) == (7, 7)
        assert one.connection._replied_bytes == 0
        await one.ask(b"xyz")
        one.connection.abort("by the test", None)
        await until(lambda: not one.bridge.open_lanes, "the lane is gone")
        assert (one.connection.received_bytes, one.connection.replied_bytes) == (10, 10)


class Changed(BridgeProtocol):
    """A class that changes what is done with each chunk."""

    def buffer_updated(self, nbytes: int) -> None:
        """Do as always."""
        super().buffer_updated(nbytes)


@EPOLL
async def test_some_connections_are_not_served() -> None:
    """Whose protocol does something with each chunk or reply."""
    async with connected(cls=Changed) as one:
        assert not one.is_served
        assert await one.ask(b"abc\n") in (b"cba\n", b"\ncba")
        assert one.chunks == 1


@EPOLL
async def test_connection_over_its_quota_is_not_read_until_half_is_back() -> None:
    """I8, past the protocol: nothing is received meanwhile, and nothing is lost."""
    go = threading.Event()

    class Waits:
        def process(self, chunk: memoryview) -> bytes:
            assert go.wait(DEADLINE_S)
            return bytes(chunk)

        def eof(self) -> None:
            return None

    async with connected(Waits, SMALL.replace(in_flight_entries=2)) as one:
        sent = b""
        for data in (b"a", b"bb"):
            one.peer.send(data)
            sent += data
            nbytes = len(sent)
            await until(lambda n=nbytes: one.connection.received_bytes == n, "it came")
        assert is_paused(one.connection)
        one.peer.send(b"cc")
        for _ in range(10):
            await asyncio.sleep(0)
        assert one.connection.received_bytes == 3
        go.set()
        assert await one.receive(5) == b"abbcc"
        assert not is_paused(one.connection)
        assert one.chunks == 0


@EPOLL
async def test_reply_that_the_kernel_does_not_take_goes_out_later_in_order() -> None:
    """The rest is in the write buffer, and reading pauses above the high water."""
    limits = Limits(slots=64, slot_bytes=4096, in_flight_bytes=1 << 20, high_water_bytes=4096)
    async with connected(lambda: _Echo(), limits) as one:
        data = b"".join(b"%06d|" % number for number in range(30_000))
        sending = asyncio.create_task(one.loop.sock_sendall(one.peer, data))
        reading = one.connection._reading  # it may pause for want of credit before
        await until(lambda: reading.pauses & WRITE_BUFFER_FULL, "the write buffer is full")
        assert one.connection._transport.get_write_buffer_size()
        assert await one.receive(len(data)) == data
        await sending
        assert one.connection.replied_bytes == len(data)


class _Echo:
    def process(self, chunk: memoryview) -> bytes:
        return bytes(chunk)

    def eof(self) -> bytes:
        return b"."


@EPOLL
async def test_half_close_is_answered_after_all_input() -> None:
    """The end of input is seen by the transport, and takes its place behind the chunks."""
    async with connected(_Echo) as one:
        data = bytes(range(256)) * 100
        sending = asyncio.create_task(one.loop.sock_sendall(one.peer, data))
        got = await one.receive(len(data))
        await sending
        one.peer.shutdown(socket.SHUT_WR)
        assert got + await one.receive(2) == data + b"."
        await until(lambda: not one.is_served, "it is served no more")


@EPOLL
async def test_reset_ends_the_connection() -> None:
    """Whatever is on its way; the plane has forgotten the socket before it is closed."""
    async with Bridge(SMALL) as bridge:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: BridgeProtocol(bridge), "127.0.0.1", 0)
        for _ in range(20):
            peer = socket.create_connection(server.sockets[0].getsockname())
            peer.send(b"abc" * 100)
            await until(lambda: bridge.open_lanes, "it is connected")
            reset(peer)
            await until(lambda: not bridge.open_lanes, "it has ended")
            assert bridge.parts.plane.served == 0
        server.close()
        statistics = bridge.statistics()
        assert statistics.published == statistics.released


@EPOLL
async def test_drain_counts_what_is_left_so_it_is_served_no_more() -> None:
    """And what had come by then is answered."""
    async with connected(_Echo) as one:
        await one.ask(b"abc")
        one.peer.send(b"last")
        one.connection.drain()
        assert not one.is_served
        assert await one.receive(5) == b"last."


@pytest.mark.parametrize("framing", ["raw", "line"])
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["send", "take", "rest"]), st.integers(1, 9000)), max_size=20
    ),
    serves=st.booleans(),
)
def test_any_traffic_is_the_same_past_the_protocol_and_through_it(
    framing: str, steps: list[tuple[str, int]], serves: bool
) -> None:
    """Bytes, order and counters; a peer that takes its replies late included."""

    class Through(BridgeProtocol):
        def _may_be_direct(self) -> bool:
            return serves

    async def main() -> None:
        async with connected(_Echo, SMALL, Through, framing=framing) as one:
            assert one.is_served == serves
            sent, got, number = b"", b"", 0
            for what, amount in steps:
                if what == "send":
                    data = b"".join(b"%04d\n" % n for n in range(number, number + amount // 5 + 1))
                    number += amount // 5 + 1
                    with contextlib.suppress(BlockingIOError):
                        sent += data[: one.peer.send(data)]
                elif what == "take":
                    with contextlib.suppress(BlockingIOError):
                        got += one.peer.recv(amount)
                else:
                    await asyncio.sleep(0)
            whole = sent if framing == "raw" else sent[: sent.rfind(b"\n") + 1]
            got += await one.receive(len(whole) - len(got))
            assert got == whole
            connection = one.connection
            await until(lambda: connection.received_bytes == len(sent), "all is received")
            assert connection.replied_bytes == len(whole)

    asyncrev.run(main())


@python_plane_only
def test_interrupt_of_a_receive_ends_that_connection_and_no_other() -> None:
    """What may have been received is missing in what would come after it."""
    ends = [socket.socketpair() for _ in range(2)]
    for pair in ends:
        for sock in pair:
            sock.setblocking(False)
    connections: list[Any] = []

    async def connect(bridge: Bridge) -> None:
        loop = asyncio.get_running_loop()
        bridge.start()
        for mine, _ in ends:
            _, connection = await loop.create_connection(lambda: BridgeProtocol(bridge), sock=mine)
            connections.append(connection)

    async def end_of(peer: socket.socket) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await asyncio.get_running_loop().sock_recv(peer, 100)

    with asyncio.Runner(loop_factory=asyncrev.EpollEventLoop) as runner:
        loop, bridge = runner.get_loop(), Bridge(SMALL)
        loop.run_until_complete(connect(bridge))
        row = connections[0]._lane

        def interrupted(view: memoryview) -> int:
            ends[0][0].recv_into(view)
            raise KeyboardInterrupt

        row.recv_into = interrupted
        for _, peer in ends:
            peer.send(b"abc")
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert loop.run_until_complete(end_of(ends[0][1])) == b""
        assert loop.run_until_complete(end_of(ends[1][1])) == b"cba"
        assert [connection.received_bytes for connection in connections] == [0, 3]
        connections[1].abort("the test is over", None)
        loop.run_until_complete(until(lambda: not bridge.open_lanes, "the lanes are gone"))
        loop.run_until_complete(bridge.close())
    for _, peer in ends:
        peer.close()


@EPOLL
async def test_more_replies_than_one_delivery_takes_are_all_sent_without_an_event() -> None:
    """No deadline, no input and no other callback helps: I11 leaves no reply behind."""
    most = 3 * DELIVERY_ENTRIES
    limits = Limits(slots=most, slot_bytes=1024)
    peers: list[socket.socket] = []

    class Waits(_Echo):
        def process(self, chunk: memoryview) -> bytes:
            wait_until(lambda: bridge.parts.ring.published_seq >= most, "all input is here")
            return bytes(chunk)

    def ask_all() -> int:
        for peer in peers:
            peer.sendall(b"abc")
        return sum(peer.recv(100) == b"abc" for peer in peers)

    async with Bridge(limits) as bridge:
        loop = asyncio.get_running_loop()
        for _ in range(most):
            mine, peer = socket.socketpair()
            peer.settimeout(DEADLINE_S / 4)
            peers.append(peer)
            await loop.create_connection(lambda: BridgeProtocol(bridge, Waits), sock=mine)
        bridge.parts.sweep.stop()
        assert await asyncio.to_thread(ask_all) == most
        for peer in peers:
            peer.close()
        await until(lambda: not bridge.open_lanes, "the lanes are gone")
