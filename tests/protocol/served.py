"""What the protocol's tests share: servers of BridgeProtocol, blocking clients in threads.

All of it goes over TCP, or over what ASYNCREV_TEST_TRANSPORT says: `tcp`, `unix`, `tls`, which is
the worker's, or `loop-tls`, which is the loop's own; see `make matrix`. A UNIX socket has an
abstract name, which the kernel gives and takes back. A TLS client is a plain socket whose other
end a thread takes through TLS to the server, so tests may use it like any other, on the loop's
thread too.
"""

import asyncio
import contextlib
import dataclasses
import functools
import os
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import asyncrev
from asyncrev import Bridge, BridgeProtocol, Limits, Server
from tests.support import DEADLINE_S, until
from tests.tls_proxy import through_tls

KINDS = ("tcp", "unix", "tls", "loop-tls")
KIND = os.environ.get("ASYNCREV_TEST_TRANSPORT", "tcp")
if KIND not in KINDS:
    raise ValueError(f"ASYNCREV_TEST_TRANSPORT is {KIND!r}; it must be one of {', '.join(KINDS)}")

# For tests over plain transports, and for tests over all kinds; a matrix run has one kind only.
both_families = pytest.mark.parametrize("kind", KINDS[:2] if KIND == "tcp" else [KIND])
every_kind = pytest.mark.parametrize("kind", KINDS if KIND == "tcp" else [KIND])

# What a transport must have for a test.
half_closes = pytest.mark.skipif(KIND == "loop-tls", reason="half-close: the loops' TLS has none")
plain_only = pytest.mark.skipif("tls" in KIND, reason="the test speaks without TLS")
resets = pytest.mark.skipif(KIND != "tcp", reason="resets: only TCP has them")
tcp_only = pytest.mark.skipif(KIND != "tcp", reason="the test brings a transport of its own")
kernel_tells = pytest.mark.skipif(
    "tls" in KIND, reason="what has arrived: a TLS client sends by a thread, and TLS holds input"
)

SMALL = Limits(slots=16, slot_bytes=1024, in_flight_bytes=4096, high_water_bytes=4096)


class Swapcase:
    """Swaps the case of every letter: the answer does not depend on how the input is split."""

    def process(self, chunk: memoryview) -> bytes:
        return bytes(chunk).swapcase()

    def eof(self) -> None:
        return None


def gated_swapcase() -> tuple[threading.Event, type[Swapcase]]:
    """Return a gate, and a Swapcase that works only once the gate is set."""
    gate = threading.Event()

    class Gated(Swapcase):
        def process(self, chunk: memoryview) -> bytes:
            assert gate.wait(10)
            return super().process(chunk)

    return gate, Gated


_one_authority = threading.Lock()


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return TLS for a server, and for a client that trusts it. Thread: any."""
    with _one_authority:
        return _tls_contexts()


def skip_without(kind: str) -> None:
    """Skip the test if `kind` needs certificates and there are none; call it before anything."""
    if "tls" in kind:
        tls_contexts()


@functools.cache
def _tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    trustme = pytest.importorskip("trustme")  # needs cryptography, not built for every interpreter
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def listening(
    kind: str = KIND, buffer_bytes: int | None = None, *, path: str = ""
) -> socket.socket:
    """Return a listening socket; `buffer_bytes` each way for those that it accepts.

    `path`: of a UNIX socket, by default an abstract name.
    """
    sock = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
    if buffer_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    sock.bind(path if kind == "unix" else ("127.0.0.1", 0))
    sock.listen(512)
    sock.setblocking(False)
    return sock


def connect_to(address: Any, buffer_bytes: int | None = None, *, kind: str = KIND) -> socket.socket:
    """Return a blocking client with a deadline, connected; `buffer_bytes` each way."""
    is_unix = isinstance(address, (str, bytes))
    client = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET)
    client.settimeout(DEADLINE_S)
    if buffer_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    if is_unix:
        client.bind("")  # a name of its own, by which a server may find it
    client.connect(address)
    if kind == "tls":
        return through_tls(client, tls_contexts()[1], "localhost", DEADLINE_S)
    return _through_streams(client) if kind == "loop-tls" else client


def _through_streams(far: socket.socket) -> socket.socket:
    """Do what `through_tls` does with asyncio's streams, which close both directions at once."""
    near, its_end = socket.socketpair()
    near.settimeout(DEADLINE_S)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()

    async def both_ways() -> None:
        plain = await asyncio.open_connection(sock=its_end)
        try:
            tls = await asyncio.open_connection(
                sock=far, ssl=tls_contexts()[1], server_hostname="localhost"
            )
        except OSError:  # the server has gone
            plain[1].close()
            return
        pumps = [
            asyncio.ensure_future(pump(plain[0], tls[1])),
            asyncio.ensure_future(pump(tls[0], plain[1])),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for _, writer in (plain, tls):
            writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*pumps)
                await tls[1].wait_closed()
                await plain[1].wait_closed()

    threading.Thread(target=asyncio.run, args=(both_ways(),)).start()
    return near


def connect(server: Server, buffer_bytes: int | None = None) -> socket.socket:
    """Return a client of the server's first address; see `connect_to`."""
    return connect_to(server.addresses[0], buffer_bytes)


async def serve(
    processor: Any, *, buffer_bytes: int | None = None, kind: str = KIND, **settings: Any
) -> Server:
    """Return a server that listens on a socket of its own."""
    if kind == "tls":
        settings["ssl"] = tls_contexts()[0]
    elif kind == "loop-tls":
        pytest.skip("a server's TLS is the worker's")
    sock = listening(kind, buffer_bytes)
    return await asyncrev.serve(sock=sock, processor=processor, **settings)


@dataclasses.dataclass
class Served:
    """A running asyncio server whose connections are on a bridge."""

    address: Any
    bridge: Bridge
    connections: list[BridgeProtocol]
    kind: str

    def connect(self, buffer_bytes: int | None = None) -> socket.socket:
        """Return a client; see `connect_to`."""
        return connect_to(self.address, buffer_bytes, kind=self.kind)


@contextlib.asynccontextmanager
async def served(
    processor: Any = Swapcase,
    limits: Limits = SMALL,
    *,
    kind: str = KIND,
    framing: str = "raw",
    buffer_bytes: int | None = None,
    bridge: Bridge | None = None,
    **create: Any,
) -> AsyncIterator[Served]:
    """Serve `processor` on the running loop; wait at the end until all connections have gone.

    `bridge`: one that runs, instead of one of its own.
    """
    loop = asyncio.get_running_loop()
    connections: list[BridgeProtocol] = []

    def make() -> BridgeProtocol:
        connections.append(BridgeProtocol(running, processor, framing=framing, tls=tls))
        return connections[-1]

    tls = tls_contexts()[0] if kind == "tls" else None
    if kind == "loop-tls":
        create["ssl"] = tls_contexts()[0]
    async with contextlib.AsyncExitStack() as stack:
        running = bridge or await stack.enter_async_context(Bridge(limits))
        sock = listening(kind, buffer_bytes)
        address = sock.getsockname()
        create_server = loop.create_unix_server if kind == "unix" else loop.create_server
        server = await create_server(make, sock=sock, backlog=512, **create)
        try:
            yield Served(address, running, connections, kind)
        finally:
            server.close()
            for made in connections:
                if made._transport is not None:
                    made._transport.abort()
            await until(
                lambda: all(made.state.value in ("lost", "new") for made in connections),
                "all connections are lost",
            )
            await server.wait_closed()


def feed(connection: BridgeProtocol, data: bytes) -> None:
    """Give `connection` input that another protocol got from its transport before."""
    while data:
        buffer = connection.get_buffer(-1)
        nbytes = min(len(buffer), len(data))
        buffer[:nbytes] = data[:nbytes]
        connection.buffer_updated(nbytes)
        data = data[nbytes:]


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Run blocking client code beside the loop."""
    return await asyncio.to_thread(function, *args)


def reset(sock: socket.socket) -> None:
    """Close `sock` with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def letters(nbytes: int, seed: int = 0) -> bytes:
    """Return letters in which no neighbourhood repeats soon."""
    return bytes(97 + (i * 7 + i // 251 + seed * 13) % 26 for i in range(nbytes))
