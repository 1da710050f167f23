"""Clients of all kinds that hold every byte they get against a history.

Coroutines on the loop of the caller, over plain sockets, so that resets and half-closes are what
they say. `sizes` are messages: bytes of raw connections, payloads of framed ones.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterable

from asyncrev.testing.faults import Address
from asyncrev.testing.history import History
from tests.support import DEADLINE_S

READ_BYTES = 64 * 1024
IN_DOUBT_S = 1.0  # what is wrong is told soon, even if too little came to tell all about it


@contextlib.asynccontextmanager
async def connected(
    address: Address, buffer_bytes: int | None = None
) -> AsyncIterator[socket.socket]:
    """Connect to `address`, with kernel buffers of that size both ways if one is given."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as sock:
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer_bytes is not None:
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, buffer_bytes)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
        yield sock


def split(sock: socket.socket) -> None:
    """Close `sock` so that its peer sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def receive_into(
    history: History, sock: socket.socket, deadline_s: float, pause_s: float = 0.0
) -> bool:
    """Receive once, after a pause; return whether something came, and not the end.

    Raises:
        AssertionError: it was not what had to come (`HistoryError`), or nothing came at all.
    """
    if pause_s:
        await asyncio.sleep(pause_s)
    if history.in_doubt:
        deadline_s = min(deadline_s, IN_DOUBT_S)
    try:
        async with asyncio.timeout(deadline_s):
            data = await asyncio.get_running_loop().sock_recv(sock, READ_BYTES)
    except TimeoutError:
        history.finish(complete=True)
        raise AssertionError(
            f"connection {history.stream.connection_id}: nothing came for {deadline_s:g} s; "
            f"{history.sent_bytes} bytes sent, {history.received_bytes} received"
        ) from None
    history.received(data)
    return bool(data)


async def upload(history: History, sock: socket.socket, sizes: Iterable[int]) -> None:
    """Send all messages, one after another, then half-close."""
    for nbytes in sizes:
        await asyncio.get_running_loop().sock_sendall(sock, history.take(nbytes))
    sock.shutdown(socket.SHUT_WR)


async def pipelined(
    history: History,
    sock: socket.socket,
    sizes: Iterable[int],
    *,
    may_end: bool = False,
    deadline_s: float = DEADLINE_S,
    pause_s: float = 0.0,
) -> bool:
    """Send all messages and half-close, and take what comes back meanwhile, until its end.

    Returns whether everything was answered. It must have been, unless the connection `may_end` in
    any way at any time. `deadline_s`: how long nothing may come at all. `pause_s`: before each
    receive.
    """
    sending = asyncio.create_task(upload(history, sock, sizes))
    try:
        while await receive_into(history, sock, deadline_s, pause_s):
            pass
        ended_well = sending.done()
        if ended_well:
            sending.result()  # a reset that sending was told of is no more than an end to receiving
    except OSError:
        if not may_end:
            raise
        ended_well = False
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    history.finish(complete=not may_end)
    assert ended_well or may_end, f"connection {history.stream.connection_id} ended early"
    return ended_well and not history.owed_bytes


async def ping_pong(
    history: History,
    sock: socket.socket,
    sizes: Iterable[int],
    *,
    may_end: bool = False,
    deadline_s: float = DEADLINE_S,
) -> bool:
    """Send one message, wait until it is answered, send the next; then close. See `pipelined`."""
    try:
        for nbytes in sizes:
            await asyncio.get_running_loop().sock_sendall(sock, history.take(nbytes))
            while history.owed_bytes and await receive_into(history, sock, deadline_s):
                pass
            if history.owed_bytes:
                break
    except OSError:
        if not may_end:
            raise
    history.finish(complete=not may_end)
    return not history.owed_bytes


async def resetting(history: History, sock: socket.socket, sizes: Iterable[int]) -> None:
    """Send what the kernel takes at once, take what has come by then, if anything, and reset."""
    with contextlib.suppress(OSError):  # BlockingIOError is one
        for nbytes in sizes:
            data = history.take(nbytes)
            if sock.send(data) < len(data):
                break
            await asyncio.sleep(0)
            history.received(sock.recv(READ_BYTES))
    history.finish(complete=False)
    split(sock)
