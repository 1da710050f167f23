"""loop: what EpollEventLoop adds to the stock loop, and that the rest is as it was."""

import asyncio
import logging
import pathlib
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

import asyncrev
from asyncrev import EpollEventLoop
from asyncrev.errors import LocalError
from asyncrev.loop.selector import MOST_EVENTS, READABLE
from asyncrev.loop.transport import EpollTransport
from tests.support import until
from tests.wires import Plain, iterations, on_epoll, receive, wire

# -- run and platforms ---------------------------------------------------------------------------


@pytest.mark.parametrize("debug", [None, True])
def test_run_returns_the_result_of_a_main_on_our_loop(debug: bool | None) -> None:
    """In debug mode when asked."""

    async def main() -> tuple[type, bool]:
        loop = asyncio.get_running_loop()
        return type(loop), loop.get_debug()

    kind, in_debug = asyncrev.run(main(), debug=debug)
    assert kind is EpollEventLoop
    assert in_debug or debug is None


@on_epoll
async def test_run_inside_a_running_loop_is_refused() -> None:
    """By name, before anything is made."""
    main = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match=r"asyncrev\.run\(\) cannot be called"):
        asyncrev.run(main)
    main.close()


def test_loop_without_epoll_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, and with what to do instead."""
    monkeypatch.delattr(selectors, "EpollSelector")
    with pytest.raises(LocalError, match=r"needs epoll.*uvloop"):
        EpollEventLoop()


# -- dispatch ------------------------------------------------------------------------------------


@on_epoll
async def test_attached_socket_has_a_transport_at_once_and_no_second_one() -> None:
    """Its protocol hears of it in the next iteration; a refused socket stays the caller's."""
    loop: Any = asyncio.get_running_loop()
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    with peer:
        protocol = Plain()
        transport = loop.attach_socket(ours, protocol)
        assert protocol.transport is None
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.attach_socket(ours, Plain())
        await iterations(1)
        assert protocol.transport is transport
        peer.sendall(b"abc")
        await until(lambda: bytes(protocol.data) == b"abc", "the input has come")
        transport.close()
        await iterations(2)
        assert ours.fileno() == -1


@on_epoll
async def test_three_hundred_ready_descriptors_are_all_served() -> None:
    """Although an iteration takes MOST_EVENTS of them at most."""
    loop, protocols, peers = asyncio.get_running_loop(), [], []
    for _ in range(300):
        mine, peer = socket.socketpair()
        mine.setblocking(False)
        protocol = Plain()
        await loop.create_connection(lambda p=protocol: p, sock=mine)
        protocols.append(protocol)
        peers.append(peer)
    for peer in peers:
        peer.send(b"x")
    assert len(peers) > 2 * MOST_EVENTS
    await until(lambda: all(p.data == b"x" for p in protocols), "all were served")
    for protocol, peer in zip(protocols, peers, strict=True):
        protocol.transport.close()
        peer.close()
    await until(lambda: all("lost" in p.calls for p in protocols), "all are lost")


@on_epoll
@pytest.mark.parametrize("debug", [False, True])
async def test_event_of_a_descriptor_closed_in_the_same_batch_is_not_dispatched(
    debug: bool,
) -> None:
    """Two are ready at once; whichever comes first closes both."""
    loop = asyncio.get_running_loop()
    loop.set_debug(debug)
    pairs = [socket.socketpair() for _ in range(2)]
    dispatched: list[int] = []

    def on_event(index: int) -> Callable[[int], None]:
        def dispatch(events: int) -> None:
            dispatched.append(index)
            for mine, _ in pairs:
                loop.unwatch(mine.fileno())

        return dispatch

    for index, (mine, peer) in enumerate(pairs):
        peer.send(b"x")
        loop.watch(mine.fileno(), READABLE, on_event(index))
    await iterations(4)
    assert len(dispatched) == 1
    for mine, peer in pairs:
        mine.close()
        peer.close()


@on_epoll
async def test_reader_removed_in_the_same_batch_is_not_called() -> None:
    """Also across the two kinds: a watch closes what asyncio has registered."""
    loop = asyncio.get_running_loop()
    one, one_peer = socket.socketpair()
    two, two_peer = socket.socketpair()
    called: list[str] = []

    def dispatch(events: int) -> None:
        called.append("watch")
        loop.unwatch(one.fileno())
        loop.remove_reader(two.fileno())

    loop.watch(one.fileno(), READABLE, dispatch)
    loop.add_reader(two.fileno(), called.append, "reader")
    one_peer.send(b"x")
    two_peer.send(b"x")
    await iterations(2)
    assert called[-1] == "watch"
    await iterations(3)
    assert called.count("watch") == 1
    assert called[-1] == "watch"
    for sock in (one, one_peer, two, two_peer):
        sock.close()


@on_epoll
async def test_readers_and_writers_of_asyncio_work_beside_watches() -> None:
    """The stock way in and out: add_reader, add_writer, sock_recv."""
    loop = asyncio.get_running_loop()
    one, other = socket.socketpair()
    for sock in (one, other):
        sock.setblocking(False)
    writable, readable = loop.create_future(), loop.create_future()
    loop.add_writer(one, writable.set_result, None)
    await writable
    loop.remove_writer(one)
    loop.add_reader(other, readable.set_result, None)
    await loop.sock_sendall(one, b"hello")
    await readable
    loop.remove_reader(other)
    assert await loop.sock_recv(other, 9) == b"hello"
    one.close()
    other.close()


@on_epoll
async def test_slow_callback_of_a_protocol_is_reported_in_debug_mode(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The direct dispatch goes by way of a Handle there."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.01

    class Slow(Plain):
        def data_received(self, data: bytes) -> None:
            time.sleep(0.02)
            super().data_received(data)

    protocol = Slow()
    with caplog.at_level(logging.WARNING, "asyncio"):
        async with wire(protocol) as (_, peer):
            peer.send(b"x")
            await until(lambda: protocol.data, "it came")
            await iterations(2)
    assert "_dispatch_if_watched" in caplog.text
    assert "took" in caplog.text


# -- TLS and sendfile ----------------------------------------------------------------------------


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send everything back, then close."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@on_epoll
async def test_tls_echo_through_create_server_and_create_connection(contexts: Any) -> None:
    """Both ends of the TLS stand on our transport."""
    server_tls, client_tls = contexts
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_tls)
    reader, writer = await asyncio.open_connection(
        *server.sockets[0].getsockname(), ssl=client_tls, server_hostname="localhost"
    )
    assert isinstance(writer.transport._ssl_protocol._transport, EpollTransport)
    data = bytes(range(256)) * 2000
    writer.write(data)
    assert await reader.readexactly(len(data)) == data
    assert writer.get_extra_info("cipher")
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    await iterations(10)


@on_epoll
async def test_start_tls_on_both_sides_of_an_open_connection(contexts: Any) -> None:
    """Plain bytes first, then TLS over the same transport."""
    server_tls, client_tls = contexts
    loop = asyncio.get_running_loop()
    near, far = Plain(), Plain()
    async with wire(near) as (transport, peer):
        far_transport, _ = await loop.create_connection(lambda: far, sock=peer)
        transport.write(b"STARTTLS")
        await until(lambda: far.data == b"STARTTLS", "it came in plain")
        near_tls, far_tls = await asyncio.gather(
            loop.start_tls(transport, near, client_tls, server_hostname="localhost"),
            loop.start_tls(far_transport, far, server_tls, server_side=True),
        )
        near_tls.write(b"secret" * 10_000)
        far_tls.write(b"answer")
        await until(lambda: far.data == b"STARTTLS" + b"secret" * 10_000, "it came by TLS")
        await until(lambda: near.data == b"answer", "the answer came by TLS")
        near_tls.abort()
        far_tls.abort()
        await until(lambda: far_transport._sock is None, "it has closed")


@on_epoll
@pytest.mark.parametrize("fallback", [False, True])
async def test_sendfile_goes_between_what_is_written_before_and_after(
    fallback: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With data in the write buffer, natively and by copying; meanwhile nobody may write."""
    loop = asyncio.get_running_loop()
    if fallback:

        async def refuse(*args: Any) -> int:
            raise asyncio.SendfileNotAvailableError

        monkeypatch.setattr(loop, "_sendfile_native", refuse)
    content = bytes(range(256)) * 4000
    (tmp_path / "file").write_bytes(content)
    protocol = Plain()
    async with wire(protocol) as (transport, peer):
        transport.write(b"<" * 500_000)
        assert transport.get_write_buffer_size()
        with (tmp_path / "file").open("rb") as file:
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await iterations(1)
            if not fallback:
                with pytest.raises(RuntimeError, match="sendfile is in progress"):
                    transport.write(b"!")
                with pytest.raises(RuntimeError, match="Empty waiter is already set"):
                    transport._make_empty_waiter()
            received = await receive(peer, 500_000 + len(content))
            assert await sending == len(content)
        transport.write(b">")
        assert received == b"<" * 500_000 + content
        assert await receive(peer, 1) == b">"
        peer.send(b"read again")
        await until(lambda: protocol.data == b"read again", "it reads again")


@on_epoll
async def test_sendfile_to_a_peer_that_goes_raises(tmp_path: pathlib.Path) -> None:
    """Also one that waits for the write buffer to be empty."""
    loop = asyncio.get_running_loop()
    (tmp_path / "file").write_bytes(b"x")
    async with wire(Plain()) as (transport, peer):
        transport.write(bytes(1_000_000))
        with (tmp_path / "file").open("rb") as file:
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await iterations(1)
            peer.close()
            with pytest.raises(ConnectionError):
                await sending


@on_epoll
async def test_server_of_asyncio_counts_our_transports() -> None:
    """wait_closed ends when the last of them has gone."""
    protocol = Plain()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as peer:
        await until(lambda: "made" in protocol.calls, "it is connected")
        assert isinstance(protocol.transport, EpollTransport)
        server.close()
        peer.send(b"x")
        await until(lambda: protocol.data, "it still serves")
    await server.wait_closed()
    await until(lambda: "lost" in protocol.calls, "it is lost")
