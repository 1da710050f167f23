"""What the protocol's tests share: servers of BridgeProtocol, blocking clients in threads."""

import asyncio
import contextlib
import dataclasses
import os
import socket
import struct
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from asyncrev import Bridge, BridgeProtocol, Limits, Server
from tests.support import DEADLINE_S, until

SMALL = Limits(slots=16, slot_bytes=1024, in_flight_bytes=4096, high_water_bytes=4096)


class Swapcase:
    """Swaps the case of every letter: the answer does not depend on how the input is cut."""

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


def connect_to(address: Any, buffer_bytes: int | None = None) -> socket.socket:
    """Return a blocking client with a deadline, connected; `buffer_bytes` each way."""
    client = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    client.settimeout(DEADLINE_S)
    if buffer_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    client.connect(address)
    return client


def connect(server: Server, buffer_bytes: int | None = None) -> socket.socket:
    """Return a client of the server's first address; see `connect_to`."""
    return connect_to(server.addresses[0], buffer_bytes)


@dataclasses.dataclass
class Served:
    """A running asyncio server whose connections are on a bridge."""

    address: Any
    bridge: Bridge
    links: list[BridgeProtocol]

    def connect(self, buffer_bytes: int | None = None) -> socket.socket:
        """Return a client; see `connect_to`."""
        return connect_to(self.address, buffer_bytes)


@contextlib.asynccontextmanager
async def served(
    processor: Any = Swapcase,
    limits: Limits = SMALL,
    *,
    unix: bool = False,
    buffer_bytes: int | None = None,
    **create: Any,
) -> AsyncIterator[Served]:
    """Serve `processor` on the running loop; wait at the end until all connections have gone."""
    loop = asyncio.get_running_loop()
    links: list[BridgeProtocol] = []

    def link() -> BridgeProtocol:
        links.append(BridgeProtocol(bridge, processor))
        return links[-1]

    with tempfile.TemporaryDirectory() as folder:
        listening = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        if buffer_bytes is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        listening.bind(os.path.join(folder, "socket") if unix else ("127.0.0.1", 0))
        listening.setblocking(False)
        address = listening.getsockname()
        async with Bridge(limits) as bridge:
            create_server = loop.create_unix_server if unix else loop.create_server
            server = await create_server(link, sock=listening, backlog=512, **create)
            try:
                yield Served(address, bridge, links)
            finally:
                server.close()
                for made in links:
                    if made._transport is not None:
                        made._transport.abort()
                await until(
                    lambda: all(made.state.value in ("lost", "new") for made in links),
                    "all connections are lost",
                )
                await server.wait_closed()


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
