"""protocol: the bridge on the side that dialled, and on a connection that another began."""

import asyncio
import pathlib
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from asyncrev import Bridge, BridgeProtocol
from asyncrev.errors import LocalError
from asyncrev.states import ConnectionState
from tests.framed import Inverting, framed
from tests.protocol.served import (
    SMALL,
    Swapcase,
    connect_to,
    every_kind,
    feed,
    in_thread,
    letters,
    listening,
    skip_without,
    tcp_only,
    tls_contexts,
)
from tests.support import DEADLINE_S, ask, receive_exactly, until

on_all = pytest.mark.asyncio


def accepted(sock: socket.socket) -> socket.socket:
    """Return the next connection of a blocking `sock`, with a deadline."""
    far, _ = sock.accept()
    far.settimeout(DEADLINE_S)
    return far


async def dial(kind: str, sock: socket.socket, factory: Callable[[], Any]) -> Any:
    """Have the running loop connect to the listening `sock`; return transport and protocol."""
    loop = asyncio.get_running_loop()
    if kind == "unix":
        return await loop.create_unix_connection(factory, sock.getsockname())
    host, port = sock.getsockname()
    if kind != "loop-tls":
        return await loop.create_connection(factory, host, port)
    return await loop.create_connection(
        factory, host, port, ssl=tls_contexts()[1], server_hostname="localhost"
    )


@on_all
@every_kind
@pytest.mark.parametrize("framing", ["raw", "line", "len32"])
async def test_client_on_a_bridge_answers_a_plain_server(
    kind: str, framing: str, tmp_path: pathlib.Path
) -> None:
    """It sends requests, more than the ring holds, and reads replies; then it ends."""
    skip_without(kind)
    payloads = [b"hello", letters(6000), letters(9000, 1), b"x"]

    def request(sock: socket.socket) -> list[bytes]:
        far = accepted(sock)
        if "tls" in kind:
            far = tls_contexts()[0].wrap_socket(far, server_side=True)
        with far:
            replies = [
                ask(far, payload if framing == "raw" else framed(framing, payload))
                for payload in payloads
            ]
            if isinstance(far, ssl.SSLSocket) and kind == "tls":
                far.unwrap().close()  # with close_notify, and after ours
            return replies

    tls: dict[str, Any] = {}
    if kind == "tls":
        tls = {"tls": tls_contexts()[1], "server_hostname": "localhost"}
    path = str(tmp_path / "socket")  # uvloop dials no abstract names
    with listening(kind, path=path) as sock:
        sock.settimeout(DEADLINE_S)
        requesting = asyncio.create_task(in_thread(request, sock))
        async with Bridge(SMALL) as bridge:
            transport, protocol = await dial(
                kind, sock, lambda: BridgeProtocol(bridge, Inverting, framing=framing, **tls)
            )
            assert await requesting == [
                Inverting.answer(payload)
                if framing == "raw"
                else framed(framing, Inverting.answer(payload))
                for payload in payloads
            ]
            await until(lambda: protocol.state is ConnectionState.LOST, "it is lost")
            assert transport.is_closing()
            assert protocol.abort_reason is None


# -- connections that another protocol began -----------------------------------------------------


class Greeting(asyncio.Protocol):
    """Speaks plain lines: waits for a greeting, then hands the transport on."""

    def __init__(self, taken: "asyncio.Future[Any]") -> None:
        self.taken = taken
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Look for the end of the greeting; what is behind it is somebody else's."""
        self.received += data
        greeting, end, rest = self.received.partition(b"\n")
        if end:
            assert greeting == b"hello"
            self.on_greeting(rest)

    def on_greeting(self, rest: bytes) -> None:
        """Tell who waits."""
        self.transport.write(b"go\n")
        self.taken.set_result(rest)


class Handing(Greeting):
    """Hands its transport on to a protocol that `make` makes."""

    def __init__(self, make: Callable[[], BridgeProtocol]) -> None:
        self.make = make
        self.received = b""

    def on_greeting(self, rest: bytes) -> None:
        """Hand it on, with what is behind the greeting."""
        connection = self.make()
        self.transport.set_protocol(connection)
        connection.connection_made(self.transport)
        feed(connection, rest)


@on_all
@every_kind
async def test_connection_is_taken_over_with_what_came_behind_the_greeting(kind: str) -> None:
    """set_protocol, connection_made, and the input that came along: nothing lost, all in order."""
    skip_without(kind)
    if kind == "tls":
        pytest.skip("the worker's TLS begins with the connection")
    data = letters(50_000)
    loop = asyncio.get_running_loop()
    connections: list[BridgeProtocol] = []

    def make() -> BridgeProtocol:
        connections.append(BridgeProtocol(bridge, Swapcase))
        return connections[-1]

    def talk(client: socket.socket) -> bytes:
        with client:
            client.sendall(b"hello\n" + data[:40_000])
            client.sendall(data[40_000:])
            return receive_exactly(client, len(data))

    async with Bridge(SMALL) as bridge:
        sock = listening(kind)
        address = sock.getsockname()
        create = loop.create_unix_server if kind == "unix" else loop.create_server
        secure = {"ssl": tls_contexts()[0]} if kind == "loop-tls" else {}
        server = await create(lambda: Handing(make), sock=sock, **secure)
        assert await in_thread(talk, connect_to(address, kind=kind)) == data.swapcase()
        await until(lambda: connections[0].state is ConnectionState.LOST, "it is lost")
        assert connections[0].received_bytes == len(data)
        server.close()
        await server.wait_closed()


class Early(asyncio.Protocol):
    """Keeps what comes between a handshake and the end of `start_tls`."""

    received = b""

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.received += data


async def upgraded(transport: Any, bridge: Bridge, context: ssl.SSLContext, **side: Any) -> Any:
    """Put a connection on a bridge after its `start_tls`; return the BridgeProtocol."""
    early = Early()
    loop = asyncio.get_running_loop()
    secure: Any = await loop.start_tls(transport, early, context, **side)
    connection = BridgeProtocol(bridge, Swapcase)
    secure.set_protocol(connection)
    connection.connection_made(secure)
    feed(connection, early.received)
    return connection


@on_all
@tcp_only
async def test_server_side_start_tls_keeps_what_comes_with_the_handshake() -> None:
    """It arrives before anybody could have called connection_made."""
    skip_without("tls")
    loop = asyncio.get_running_loop()
    taken: asyncio.Future[bytes] = loop.create_future()
    protocols: list[Greeting] = []

    def make() -> Greeting:
        protocols.append(Greeting(taken))
        return protocols[0]

    replies: list[bytes] = []

    def talk(client: socket.socket) -> None:
        with client:
            client.sendall(b"hello\n")
            assert receive_exactly(client, 3) == b"go\n"
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = tls_contexts()[1].wrap_bio(incoming, outgoing, server_hostname="localhost")

            def until_done(step: Callable[[], Any]) -> Any:
                while True:
                    try:
                        return step()
                    except ssl.SSLWantReadError:
                        if outgoing.pending:
                            client.sendall(outgoing.read())
                        incoming.write(client.recv(65536))

            until_done(tls.do_handshake)
            tls.write(letters(9000))  # goes out in one piece with the handshake's last part
            client.sendall(outgoing.read())
            reply = b""
            while len(reply) < 9000:
                reply += until_done(lambda: tls.read(9000))
            replies.append(reply)

    async with Bridge(SMALL) as bridge:
        sock = listening()
        address = sock.getsockname()
        server = await loop.create_server(make, sock=sock)
        talking = asyncio.create_task(in_thread(talk, connect_to(address)))
        assert await taken == b""
        connection = await upgraded(
            protocols[0].transport, bridge, tls_contexts()[0], server_side=True
        )
        await talking
        assert replies == [letters(9000).swapcase()]
        await until(lambda: connection.state is ConnectionState.LOST, "it is lost")
        server.close()
        await server.wait_closed()


@on_all
@tcp_only
async def test_client_side_start_tls_answers_over_tls() -> None:
    """A plain greeting from the server, then TLS, more than the ring holds, and the end."""
    skip_without("tls")

    def request(sock: socket.socket) -> list[bytes]:
        with accepted(sock) as far:
            far.sendall(b"hello\n")
            assert receive_exactly(far, 3) == b"go\n"
            with tls_contexts()[0].wrap_socket(far, server_side=True) as tls:
                return [ask(tls, letters(15_000, seed)) for seed in range(4)]

    loop = asyncio.get_running_loop()
    taken: asyncio.Future[bytes] = loop.create_future()
    with listening() as sock:
        sock.settimeout(DEADLINE_S)
        requesting = asyncio.create_task(in_thread(request, sock))
        async with Bridge(SMALL) as bridge:
            transport, _ = await dial("tcp", sock, lambda: Greeting(taken))
            assert await taken == b""
            connection = await upgraded(
                transport, bridge, tls_contexts()[1], server_hostname="localhost"
            )
            assert await requesting == [letters(15_000, seed).swapcase() for seed in range(4)]
            await until(lambda: connection.state is ConnectionState.LOST, "it is lost")


@on_all
@tcp_only
async def test_input_before_connection_made_is_refused_in_words() -> None:
    """As from a `start_tls` that was given the BridgeProtocol itself."""
    async with Bridge(SMALL) as bridge:
        connection = BridgeProtocol(bridge)
        with pytest.raises(LocalError, match="before connection_made"):
            connection.get_buffer(-1)
