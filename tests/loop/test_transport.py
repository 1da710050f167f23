"""transport: what a connection goes through, each step once and none after its end (I13)."""

import asyncio
import logging
import socket
from typing import Any

import pytest

from asyncrev import EpollEventLoop
from asyncrev.loop.transport import EpollTransport
from tests.support import reset, until
from tests.wires import (
    FEW_POLLS,
    Buffered,
    Plain,
    iterations,
    on_epoll,
    polls_while_idle,
    tcp_pair,
    wire,
)

both_protocols = pytest.mark.parametrize("make", [Plain, Buffered])


# -- reading -------------------------------------------------------------------------------------


@on_epoll
@both_protocols
async def test_input_and_its_end_reach_the_protocol_in_order(make: Any) -> None:
    """Every byte, then eof_received, then connection_lost(None)."""
    protocol = make()
    async with wire(protocol) as (_, peer):
        await asyncio.get_running_loop().sock_sendall(peer, bytes(range(256)) * 100)
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: "lost" in protocol.calls, "it is lost")
        assert protocol.data == bytes(range(256)) * 100
        assert protocol.calls == ["made", "eof", "lost"]
        assert protocol.error is None


@on_epoll
@both_protocols
async def test_pause_reading_in_connection_made_holds_from_the_first_byte(make: Any) -> None:
    """Pausing and resuming are idempotent; nothing is lost meanwhile."""
    protocol = make()

    def pause(transport: Any) -> None:
        transport.pause_reading()
        transport.pause_reading()

    protocol.on_made = pause
    async with wire(protocol) as (transport, peer):
        peer.send(b"waiting")
        assert not transport.is_reading()
        assert await polls_while_idle(asyncio.get_running_loop()) < FEW_POLLS
        assert not protocol.data
        transport.resume_reading()
        transport.resume_reading()
        assert transport.is_reading()
        await until(lambda: protocol.data == b"waiting", "it came")


@on_epoll
async def test_pause_reading_in_buffer_updated_gives_no_further_buffer() -> None:
    """One call, then none until it resumes."""
    protocol = Buffered(4)
    plain_updated = protocol.buffer_updated

    def updated(nbytes: int) -> None:
        plain_updated(nbytes)
        protocol.transport.pause_reading()

    protocol.buffer_updated = updated  # type: ignore[method-assign]
    async with wire(protocol) as (transport, peer):
        peer.send(b"0123456789")
        await until(lambda: protocol.data, "the first part came")
        await iterations(10)
        assert protocol.data == b"0123"
        transport.resume_reading()
        await until(lambda: len(protocol.data) == 8, "the second part came")
        await iterations(10)
        assert protocol.data == b"01234567"


@on_epoll
async def test_set_protocol_midway_moves_input_between_both_kinds() -> None:
    """Each byte goes to the protocol that was set when it was read."""
    plain, buffered, again = Plain(), Buffered(), Plain()
    async with wire(plain) as (transport, peer):
        assert transport.get_protocol() is plain
        for protocol, data in ((plain, b"one"), (buffered, b"two"), (again, b"three")):
            transport.set_protocol(protocol)
            assert transport.get_protocol() is protocol
            peer.send(data)
            await until(lambda p=protocol, d=data: p.data == d, "it came")
    assert plain.calls == ["made"]
    assert again.calls == ["lost"]
    assert not buffered.calls


# -- a peer that goes ----------------------------------------------------------------------------


@on_epoll
@both_protocols
@pytest.mark.parametrize("unread", [b"", b"unread"])
async def test_reset_while_reading_is_paused_is_noticed(make: Any, unread: bytes) -> None:
    """Also when input lies in front of it."""
    protocol = make()
    async with wire(protocol, tcp_pair) as (transport, peer):
        transport.pause_reading()
        if unread:
            peer.send(unread)
            await iterations()
        reset(peer)
        await until(lambda: "lost" in protocol.calls, "it is lost")
        assert isinstance(protocol.error, ConnectionResetError)
        assert protocol.calls == ["made", "lost"]


@on_epoll
async def test_reset_while_reading_is_an_error_without_a_report(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """connection_lost gets it; debug mode logs it."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    caplog.set_level(logging.DEBUG, "asyncio")
    for protocol in (Plain(), Buffered()):
        async with wire(protocol, tcp_pair) as (_, peer):
            reset(peer)
            await until(lambda p=protocol: "lost" in p.calls, "it is lost")
            assert isinstance(protocol.error, ConnectionResetError)
    assert "Fatal read error" in caplog.text


@on_epoll
async def test_reset_with_a_write_buffer_while_paused_is_noticed() -> None:
    """The send from the write buffer reports it first."""
    protocol = Plain()
    async with wire(protocol, tcp_pair) as (transport, peer):
        transport.pause_reading()
        transport.write(bytes(8_000_000))
        assert transport.get_write_buffer_size()
        reset(peer)
        await until(lambda: "lost" in protocol.calls, "it is lost")
        assert isinstance(protocol.error, OSError)


@on_epoll
@both_protocols
async def test_unix_close_while_paused_loses_no_byte_and_does_not_spin(make: Any) -> None:
    """epoll reports that hang-up for ever, and what the peer had sent is still to be read."""
    protocol = make()
    async with wire(protocol) as (transport, peer):
        transport.pause_reading()
        peer.send(b"last words")
        peer.close()
        assert await polls_while_idle(asyncio.get_running_loop()) < FEW_POLLS
        assert protocol.calls == ["made"]
        transport.resume_reading()
        await until(lambda: "lost" in protocol.calls, "it is lost")
        assert protocol.data == b"last words"
        assert protocol.calls == ["made", "eof", "lost"]


@on_epoll
@pytest.mark.parametrize("pair", [socket.socketpair, tcp_pair], ids=["unix", "tcp"])
async def test_both_directions_shut_does_not_spin(pair: Any) -> None:
    """A protocol that keeps the connection open costs nothing after both ends of stream."""
    protocol = Plain(keep_open=True)
    async with wire(protocol, pair) as (transport, peer):
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: "eof" in protocol.calls, "it came")
        assert await polls_while_idle(asyncio.get_running_loop()) < FEW_POLLS
        transport.pause_reading()
        transport.resume_reading()
        assert await polls_while_idle(asyncio.get_running_loop()) < FEW_POLLS
        transport.write_eof()
        assert await polls_while_idle(asyncio.get_running_loop()) < FEW_POLLS
        assert protocol.calls == ["made", "eof"]
        assert not transport.is_closing()


@on_epoll
async def test_write_after_everything_was_shut_by_the_peer_loses_the_connection() -> None:
    """It watches again only for that, and finds out."""
    protocol = Plain()
    async with wire(protocol) as (transport, peer):
        transport.pause_reading()
        peer.close()
        await polls_while_idle(asyncio.get_running_loop())
        transport.write(b"x")
        await until(lambda: "lost" in protocol.calls, "it is lost")
        assert isinstance(protocol.error, BrokenPipeError)


@on_epoll
async def test_end_of_input_after_a_pause_in_the_same_event_waits() -> None:
    """`buffer_updated` pauses; the end of stream behind its bytes comes after resume only."""
    protocol = Buffered(4)
    protocol.on_made = lambda transport: transport.pause_reading()
    async with wire(protocol) as (transport, peer):
        peer.send(b"abcd")
        peer.shutdown(socket.SHUT_WR)
        await iterations(6)
        assert protocol.calls == ["made"]
        transport.resume_reading()
        await until(lambda: "lost" in protocol.calls, "it is lost")
        assert protocol.calls == ["made", "eof", "lost"]


# -- ends ----------------------------------------------------------------------------------------


@on_epoll
@pytest.mark.parametrize("callback", ["get_buffer", "buffer_updated", "eof_received"])
@pytest.mark.parametrize("make", [Buffered, Plain])
async def test_callback_that_raises_loses_only_its_connection(
    make: Any, callback: str, loop_errors: list[dict[str, Any]]
) -> None:
    """The loop's handler gets exception, transport and protocol."""
    if make is Plain and callback != "eof_received":
        callback = "data_received"
    protocol, neighbour = make(), make()
    raised = ZeroDivisionError(callback)

    def fail(*args: Any) -> Any:
        raise raised

    setattr(protocol, callback, fail)
    async with wire(neighbour) as (_, other_peer), wire(protocol) as (transport, peer):
        peer.send(b"x")
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: "lost" in protocol.calls, "it is lost")
        assert protocol.error is raised
        (context,) = loop_errors
        assert context["exception"] is raised
        assert context["transport"] is transport
        assert context["protocol"] is protocol
        assert callback in context["message"]
        loop_errors.clear()
        other_peer.send(b"fine")
        await until(lambda: neighbour.data == b"fine", "the neighbour lives")


@pytest.mark.parametrize(
    ("callback", "protocol"),
    [
        ("get_buffer", Buffered),
        ("buffer_updated", Buffered),
        ("data_received", Plain),
        ("eof_received", Plain),
    ],
)
def test_system_exit_in_a_callback_ends_the_loop_and_the_stream(
    callback: str, protocol: Any
) -> None:
    """It is no error of a connection; but as an interrupt it may have lost input."""

    def leave(*args: Any) -> Any:
        raise SystemExit(callback)

    mine, peer = socket.socketpair()
    mine.setblocking(False)
    made = protocol()
    setattr(made, callback, leave)

    async def connect() -> None:
        await asyncio.get_running_loop().create_connection(lambda: made, sock=mine)

    async def finish() -> None:
        assert made.transport.is_closing()
        await until(lambda: "lost" in made.calls, "it is lost")
        assert isinstance(made.error, ConnectionAbortedError)

    with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
        loop = runner.get_loop()
        loop.run_until_complete(connect())
        peer.send(b"" if callback == "eof_received" else b"x")
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(SystemExit, match=callback):
            loop.run_forever()
        delattr(made, callback)
        made.transport.set_protocol(made)
        loop.run_until_complete(finish())
    peer.close()


@on_epoll
async def test_empty_get_buffer_is_fatal_and_reported(loop_errors: list[dict[str, Any]]) -> None:
    """As on the stock loop."""
    protocol = Buffered(0)
    async with wire(protocol) as (_, peer):
        peer.send(b"x")
        await until(lambda: "lost" in protocol.calls, "it is lost")
        assert isinstance(protocol.error, RuntimeError)
        assert "empty buffer" in str(loop_errors.pop()["exception"])


# -- the rest of a good citizen ------------------------------------------------------------------


@on_epoll
async def test_second_transport_on_a_descriptor_is_refused() -> None:
    """By either way of making one."""
    async with wire(Plain()) as (transport, _):
        loop = asyncio.get_running_loop()
        for make in (loop._make_socket_transport, loop._make_ssl_transport):
            with pytest.raises(RuntimeError, match="used by transport"):
                make(transport._sock, Plain(), *([None] * (make == loop._make_ssl_transport)))


@on_epoll
async def test_waiter_that_was_cancelled_is_left_alone() -> None:
    """Whoever waited for the connection may have given up."""
    mine, peer = socket.socketpair()
    mine.setblocking(False)
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    waiter.cancel()
    transport = EpollTransport(loop, mine, Plain(), waiter)
    await iterations()
    transport.abort()
    await iterations()
    peer.close()


@on_epoll
async def test_debug_mode_logs_the_end_of_stream(caplog: pytest.LogCaptureFixture) -> None:
    """As the stock transport does."""
    asyncio.get_running_loop().set_debug(True)
    caplog.set_level(logging.DEBUG, "asyncio")
    protocol = Plain()
    async with wire(protocol) as (_, peer):
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: "lost" in protocol.calls, "it is lost")
    assert "received EOF" in caplog.text


class InterruptedReceives(socket.socket):
    """Receives, and is interrupted by a signal handler then."""

    def recv(self, nbytes: int, *flags: int) -> bytes:
        super().recv(nbytes)
        raise KeyboardInterrupt

    def recv_into(self, buffer: Any, *more: int) -> int:
        super().recv_into(buffer)
        raise KeyboardInterrupt


@pytest.mark.parametrize("protocol", [Plain, Buffered])
def test_interrupt_of_a_receive_ends_the_stream_too(protocol: Any) -> None:
    """Nobody knows whether bytes were received, so no others may follow them."""
    mine, peer = socket.socketpair()
    interrupted = InterruptedReceives(fileno=mine.detach())
    interrupted.setblocking(False)
    made = protocol()

    async def connect() -> None:
        await asyncio.get_running_loop().create_connection(lambda: made, sock=interrupted)

    with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
        loop = runner.get_loop()
        loop.run_until_complete(connect())
        peer.send(b"x")
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        loop.run_until_complete(until(lambda: "lost" in made.calls, "it is lost"))
    assert isinstance(made.error, ConnectionAbortedError)
    peer.close()
