"""A client and a server with a proxy between them that injects faults."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

from asyncrev.testing.faults import Address, FaultProxy, Toxics
from tests.support import DEADLINE_S

DIRECTIONS = ["upstream", "downstream"]
DELAY_S = 0.06
LEAST_S = (
    DELAY_S / 2
)  # loops whose clock stands still within an iteration may be early by that iteration


class Linked:
    """A client and a server socket with a proxy between them; all coroutines have a deadline."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy = proxy
        self.socks = {"upstream": (client, server), "downstream": (server, client)}

    def ends(self, direction: str) -> tuple[socket.socket, socket.socket]:
        """Return who sends and who receives in that direction."""
        return self.socks[direction]

    def set(self, direction: str, toxics: Toxics) -> None:
        """Have the toxics work on that direction."""
        self.proxy.set(**{direction: toxics})


@contextlib.asynccontextmanager
async def linked(listen: Address = ("127.0.0.1", 0), **settings: Any) -> AsyncIterator[Linked]:
    """Make such a pair."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setblocking(False)
        async with FaultProxy(listener.getsockname(), listen, **settings) as proxy:
            family = socket.AF_UNIX if isinstance(listen, str) else socket.AF_INET
            client = stack.enter_context(socket.socket(family))
            client.setblocking(False)
            await loop.sock_connect(client, proxy.address)
            async with asyncio.timeout(DEADLINE_S):
                server, _ = await loop.sock_accept(listener)
            stack.enter_context(server)
            yield Linked(proxy, client, server)


async def send(sock: socket.socket, data: bytes) -> None:
    """Send all of it."""
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.get_running_loop().sock_sendall(sock, data)


async def receive(sock: socket.socket, nbytes: int) -> bytes:
    """Return exactly `nbytes`, or what came before the end."""
    got = b""
    async with asyncio.timeout(DEADLINE_S):
        while len(got) < nbytes:
            part = await asyncio.get_running_loop().sock_recv(sock, nbytes - len(got))
            if not part:
                break
            got += part
    return got


async def end(sock: socket.socket) -> tuple[bytes, str]:
    """Return what comes before the end, and how it comes: "FIN" or "RST"."""
    got = b""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while part := await asyncio.get_running_loop().sock_recv(sock, 1 << 16):
                got += part
    except ConnectionResetError:
        return got, "RST"
    return got, "FIN"
