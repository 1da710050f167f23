"""watched_socket: a connection's states, its context, and its end, which comes once (I13)."""

import asyncio
import contextvars
import gc
import socket
import ssl
import warnings
from typing import Any

import pytest

from asyncrev import EpollEventLoop
from asyncrev.states import TransportState
from tests.support import reset, until
from tests.wires import Buffered, Plain, iterations, on_epoll, receive, tcp_pair, wire

both_protocols = pytest.mark.parametrize("make", [Plain, Buffered])

# -- ends ----------------------------------------------------------------------------------------


class Looking(Plain):
    """Notes the state of its transport in `connection_lost`."""

    def connection_lost(self, error: BaseException | None) -> None:
        self.seen = [self.transport._state]
        super().connection_lost(error)


@on_epoll
async def test_states_follow_the_table_from_open_to_closed() -> None:
    """CLOSING only while the write buffer is sent; `connection_lost` is called in LOST."""
    for steps, ends, expected in (
        ([100], ("close", "close"), [TransportState.OPEN, TransportState.LOST]),
        ([100], ("abort", "close"), [TransportState.OPEN, TransportState.LOST]),
        ([0, 0, 9], ("close", "close"), [TransportState.OPEN, TransportState.CLOSING]),
        ([0, 0, 9], ("close", "abort"), [TransportState.OPEN, TransportState.LOST]),
    ):
        protocol = Looking()
        async with wire(protocol, steps=steps) as (transport, _):
            transport.write(b"data")
            seen = [transport._state]
            for end in ends:
                getattr(transport, end)()
            seen.append(transport._state)
            assert seen == expected
            await until(lambda p=protocol: "lost" in p.calls, "it is lost")
            assert protocol.seen == [TransportState.LOST]
            assert transport._state is TransportState.CLOSED
            assert transport._sock is None


@on_epoll
@both_protocols
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_end_calls_connection_lost_once_and_nothing_after(make: Any, how: str) -> None:
    """I13: input, resumes and further ends change nothing."""
    protocol = make()
    async with wire(protocol) as (transport, peer):
        peer.send(b"too late")
        getattr(transport, how)()
        assert protocol.calls == ["made"]
        for call in ("close", "abort", "resume_reading", "pause_reading", "write_eof"):
            getattr(transport, call)()
        assert transport.is_closing()
        await iterations()
        transport.resume_reading()
        transport.abort()
        assert protocol.calls == ["made", "lost"]
        assert protocol.error is None
        assert not protocol.data
        assert "closed" in repr(transport)
        assert not transport.is_reading()


@on_epoll
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_end_inside_connection_made_is_orderly(how: str) -> None:
    """I13: also before anything is watched; what was written before close() goes out."""
    protocol = Plain()

    def end(transport: Any) -> None:
        transport.write(b"sorry")
        getattr(transport, how)()

    protocol.on_made = end
    async with wire(protocol) as (_, peer):
        await until(lambda: "lost" in protocol.calls, "it is lost")
        assert protocol.calls == ["made", "lost"]
        assert await receive(peer) == b"sorry"


# -- what it knows of its socket -------------------------------------------------------------------


@on_epoll
async def test_extra_info_names_both_ends_and_the_socket() -> None:
    """And TCP_NODELAY is set, as asyncio does."""
    async with wire(Plain(), tcp_pair) as (transport, peer):
        assert transport.get_extra_info("peername") == peer.getsockname()
        assert transport.get_extra_info("sockname") == peer.getpeername()
        sock = transport.get_extra_info("socket")
        assert sock.fileno() == transport._sock.fileno()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert transport.get_extra_info("nothing", "default") == "default"
        assert "open" in repr(transport)


@on_epoll
async def test_socket_is_one_object_and_is_told_after_the_end() -> None:
    """As asyncio's transports do; it is made when it is asked for."""
    asked, unasked = Plain(), Plain()
    async with wire(asked, tcp_pair) as (transport, _), wire(unasked, tcp_pair) as (other, _):
        sock = transport.get_extra_info("socket")
        assert transport.get_extra_info("socket") is sock
        for each, protocol in ((transport, asked), (other, unasked)):
            each.abort()
            await until(lambda p=protocol: "lost" in p.calls, "it is lost")
            assert each._sock is None
            assert each.get_extra_info("socket").fileno() == -1
        assert transport.get_extra_info("socket") is sock


@on_epoll
async def test_streams_of_one_listening_socket_share_their_own_address() -> None:
    """And what a caller gives as extra information is told before what the socket says."""
    loop: Any = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peers = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        socks = [listener.accept()[0] for _ in peers]
        for sock in socks:
            sock.setblocking(False)
        extra = {"peername": "told before", "more": 1}
        transports = [
            *(loop._make_socket_transport(sock, Plain()) for sock in socks[:2]),
            loop._make_socket_transport(socks[2], Plain(), extra=extra),
        ]
        names = [transport.get_extra_info("sockname") for transport in transports]
        assert names[0] == listener.getsockname()
        assert names[1] is names[0]
        assert names[2] is names[0]
        assert transports[0].get_extra_info("peername") == peers[0].getsockname()
        assert transports[2].get_extra_info("peername") == "told before"
        assert transports[2].get_extra_info("more") == 1
        for transport, peer in zip(transports, peers, strict=True):
            transport.abort()
            peer.close()
        await until(lambda: all(t._sock is None for t in transports), "they are closed")


@on_epoll
async def test_transport_on_a_socket_reset_already_is_lost_in_order() -> None:
    """It has no peer's name any more; the first read tells why."""
    protocol = Plain()
    mine, peer = tcp_pair()
    mine.setblocking(False)
    reset(peer)
    await asyncio.get_running_loop().create_connection(lambda: protocol, sock=mine)
    assert protocol.transport.get_extra_info("peername") is None
    await until(lambda: "lost" in protocol.calls, "it is lost")
    assert isinstance(protocol.error, ConnectionResetError)


@on_epoll
async def test_callbacks_see_the_context_of_who_connected() -> None:
    """contextvars, as with the handles of the stock loop."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    class Looking(Plain):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            seen.append(variable.get())

        def data_received(self, data: bytes) -> None:
            seen.append(variable.get())

        def connection_lost(self, error: BaseException | None) -> None:
            seen.append(variable.get())

    variable.set("connecting")
    async with wire(Looking()) as (_, peer):
        variable.set("later")
        peer.send(b"x")
        await until(lambda: len(seen) == 2, "the byte came")
    assert seen[:2] == ["connecting", "connecting"]


@on_epoll
@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_callbacks_run_in_the_context_that_asyncio_gives(
    kind: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """CPython 3.15 passes one to the loop's makers of transports; all calls share it."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    class Counting(Plain):
        def note(self) -> None:
            seen.append(variable.get())
            variable.set(f"call {len(seen)}")

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.note()

        def data_received(self, data: bytes) -> None:
            self.note()

        def connection_lost(self, error: BaseException | None) -> None:
            self.note()

    loop: Any = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    own, given = Counting(), contextvars.Context()
    if kind == "tls":
        loop._make_ssl_transport(ours, own, contexts[0], server_side=True, context=given)
        _, writer = await asyncio.open_connection(
            sock=theirs, ssl=contexts[1], server_hostname="localhost"
        )
    else:
        loop._make_socket_transport(ours, own, context=given)
        _, writer = await asyncio.open_connection(sock=theirs)
    writer.write(b"x")
    await until(lambda: len(seen) == 2, "the byte came")
    writer.close()
    await until(lambda: len(seen) == 3, "the end came")
    assert seen == ["unset", "call 1", "call 2"]
    assert variable.get() == "unset"
    await writer.wait_closed()


def test_transport_never_closed_warns_and_frees_its_descriptor() -> None:
    """ResourceWarning, as from asyncio's."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    socks = [ours]
    del ours

    async def connect() -> None:
        await asyncio.get_running_loop().create_connection(Plain, sock=socks[0])

    loop = EpollEventLoop()
    loop.run_until_complete(connect())
    loop.close()
    del loop
    socks.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    assert any("unclosed transport <EpollTransport open" in str(w.message) for w in caught)
    assert peer.recv(1) == b""
    peer.close()
