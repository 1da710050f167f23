"""A proxy that hurts connections on their way, as networks do.

Theory of operation: a connection is one client and its connection to the server, and has two flows,
    one
for each direction (`toxics`). It ends when both have, or as soon as one side was reset or a toxic
says so; then the other side sees the same. Without toxics it is a plain proxy: it reads no more
than the other side takes, and passes a half-close on as one, a reset as one.
"""

import asyncio
import collections
import contextlib
import math
import os
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

from asyncrev.testing.toxics import CHUNK_BYTES, ConnectionClosed, Flow, Toxics

__all__ = ["NOTHING", "Address", "FaultProxy", "Toxics", "fault_proxy_thread"]

Address = tuple[str, int] | str  # of TCP, or the path of a UNIX socket

NOTHING = Toxics()

_LINGER_S = 1.0
_RETRY_S = 0.05


class FaultProxy:
    """Passes connections on to a server, with faults that may be changed at any time.

    An async context manager. Thread: that of its loop, which may be any loop; `set` and what only
    tells something: any.

    Attributes:
        toxics: what is done now, by direction: "upstream" is from client to server.
        faults: how often each fault took effect, by toxiproxy's names.
        passed_bytes: so far, by direction.
        connections: accepted so far.
        address: where it listens.
        random: where sizes and jitter come from.
        changed: set, and replaced by a new one, when toxics change.
    """

    def __init__(
        self,
        server: Address,
        listen: Address = ("127.0.0.1", 0),
        *,
        upstream: Toxics = NOTHING,
        downstream: Toxics = NOTHING,
        seed: int = 0,
        socket_buffer_bytes: int | None = None,
    ) -> None:
        """Prepare; `start` listens.

        `server`: who gets the connections. `seed`: the same one makes the same sizes and jitter.
        `socket_buffer_bytes`: for the kernel's buffers of all sockets, both ways; by default its
        own choice. On UNIX sockets a reset is no more than a close.
        """
        self.toxics = {"upstream": upstream, "downstream": downstream}
        self.faults: collections.Counter[str] = collections.Counter()
        self.passed_bytes = {"upstream": 0, "downstream": 0}
        self.connections = 0
        self.address = listen
        self.random = random.Random(seed)
        self._server = server
        self._socket_buffer_bytes = socket_buffer_bytes
        self._changed_s = {"upstream": 0.0, "downstream": 0.0}
        self._tasks: set[asyncio.Task[None]] = set()
        self._defects: list[BaseException] = []

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be bound.
        """
        self._loop = asyncio.get_running_loop()
        self.changed = asyncio.Event()
        self._listener = self._socket(self.address)
        try:
            self._listener.bind(self.address)
            self._listener.listen(1024)
        except OSError:
            self._listener.close()
            raise
        self.address = self._listener.getsockname()
        self._accepting = self._loop.create_task(self._accept())

    async def stop(self) -> None:
        """Listen no more, and reset what is there.

        Raises:
            BaseException: what went wrong in the proxy itself, if something did.
        """
        tasks = [self._accepting, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()
        if isinstance(self.address, str):
            os.unlink(self.address)
        if self._defects:
            raise self._defects[0]

    async def __aenter__(self) -> "FaultProxy":
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    def set(self, *, upstream: Toxics | None = None, downstream: Toxics | None = None) -> None:
        """Do this from now on, to connections that are there, too. Thread: any.

        What is None stays as it is. Times of `timeout_s` and `reset_peer_s` count from here, or
        from a connection's beginning if it is later. Returns when it is so.
        """
        toxics = {"upstream": upstream, "downstream": downstream}
        try:
            is_loop_thread = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_loop_thread = False
        if is_loop_thread:
            self._set(toxics)
        else:
            asyncio.run_coroutine_threadsafe(self._set_there(toxics), self._loop).result()

    async def _set_there(self, toxics: dict[str, Toxics | None]) -> None:
        self._set(toxics)

    def _set(self, toxics: dict[str, Toxics | None]) -> None:
        for name, one in toxics.items():
            if one is not None:
                self.toxics[name] = one
                self._changed_s[name] = self._loop.time()
        self.changed.set()
        self.changed = asyncio.Event()

    def _socket(self, address: Address) -> socket.socket:
        if isinstance(address, str):
            sock = socket.socket(socket.AF_UNIX)
        else:
            sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._socket_buffer_bytes is not None:
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # before connecting, or no effect
                sock.setsockopt(socket.SOL_SOCKET, option, self._socket_buffer_bytes)
        sock.setblocking(False)
        return sock

    async def _accept(self) -> None:
        while True:
            try:
                client, _ = await self._loop.sock_accept(self._listener)
            except OSError:  # no descriptor left, or it has gone already
                await asyncio.sleep(_RETRY_S)
                continue
            self.connections += 1
            task = self._loop.create_task(self._connection(client))
            self._tasks.add(task)
            task.add_done_callback(self._on_connection_end)

    def _on_connection_end(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._defects.append(error)

    async def _connection(self, client: socket.socket) -> None:
        """Serve one client: connect it, and end both sides as one has ended, or a toxic says."""
        socks = [client]
        end: Callable[[socket.socket], None] = _reset
        try:
            socks.append(server := self._socket(self._server))
            await self._loop.sock_connect(server, self._server)
            await self._flow(client, server)
            end = _close
        except ConnectionClosed:
            await asyncio.gather(_finish(client), _finish(server))
            end = _close
        except OSError:  # a reset, a refusal, no descriptor left
            pass
        finally:
            for sock in socks:
                end(sock)

    async def _flow(self, client: socket.socket, server: socket.socket) -> None:
        """Return when both directions have ended.

        Raises:
            ConnectionError: one side was reset, or is to be.
            ConnectionClosed: a toxic closes both.
        """
        upstream = Flow(self, "upstream", client, server)
        downstream = Flow(self, "downstream", server, client)
        start = self._loop.create_task
        writing = {start(upstream.write()), start(downstream.write())}
        others = {start(upstream.read()), start(downstream.read()), start(self._watch())}
        tasks = writing | others
        try:
            while writing:
                done, _ = await asyncio.wait(writing | others, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                writing -= done
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        """Raise when the time of a toxic has come.

        Raises:
            ConnectionError: that of `reset_peer`.
            ConnectionClosed: that of `timeout`.
        """
        begun_s = self._loop.time()
        while True:
            changed = self.changed
            due = [(math.inf, "")]
            for name, toxics in self.toxics.items():
                since_s = max(begun_s, self._changed_s[name])
                if toxics.reset_peer_s is not None:
                    due.append((since_s + toxics.reset_peer_s, "reset_peer"))
                if toxics.timeout_s:
                    due.append((since_s + toxics.timeout_s, "timeout"))
            due_s, fault = min(due)
            if due_s <= self._loop.time():
                self.faults[fault] += 1
                raise ConnectionClosed if fault == "timeout" else ConnectionResetError
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due_s if fault else None):
                    await changed.wait()


async def _finish(sock: socket.socket) -> None:
    """Send the end of stream, then drop what comes: a close with unread input is a reset."""
    with contextlib.suppress(OSError):  # TimeoutError is one
        sock.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(_LINGER_S):
            while await asyncio.get_running_loop().sock_recv(sock, CHUNK_BYTES):
                pass


def _close(sock: socket.socket) -> None:
    sock.close()


def _reset(sock: socket.socket) -> None:
    """Close `sock` so that its peer sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@contextlib.contextmanager
def fault_proxy_thread(server: Address, **settings: Any) -> Iterator[FaultProxy]:
    """Run a `FaultProxy`, on a loop and a thread of its own, for clients that block.

    Thread: any. `settings`: those of `FaultProxy`.
    """
    proxy = FaultProxy(server, **settings)
    started = threading.Event()
    ended: list[BaseException] = []
    stop = asyncio.Event()

    async def run() -> None:
        async with proxy:
            started.set()
            await stop.wait()

    def thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            ended.append(error)
        finally:
            started.set()

    runner = threading.Thread(target=thread, name="fault proxy")
    runner.start()
    started.wait()
    try:
        if not ended:
            yield proxy
    finally:
        if not ended:
            proxy._loop.call_soon_threadsafe(stop.set)
        runner.join()
    if ended:
        raise ended[0]
