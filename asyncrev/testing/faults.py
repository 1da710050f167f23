"""A proxy that injects network faults into connections.

Theory of operation. Each client gets its own connection to the server, and each direction between
the two is a flow (`toxics`). They end when both flows have ended, or as soon as one side is reset
or a toxic ends them; then the other side sees the same. Without toxics it is a plain proxy: it
reads no more than the other side takes, and passes half-closes and resets on.
"""

import asyncio
import collections
import contextlib
import math
import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from asyncrev.testing.loop_thread import LoopThread
from asyncrev.testing.toxics import CHUNK_BYTES, ConnectionClosed, Flow, Toxics

__all__ = ["NOTHING", "Address", "FaultProxy", "Toxics", "fault_proxy_thread"]

Address = tuple[str, int] | str  # of TCP, or the path of a UNIX socket

NOTHING = Toxics()

_LINGER_S = 1.0
_RETRY_S = 0.05


class FaultProxy:
    """Passes connections on to a server, with faults that can be changed at any time.

    An async context manager, on any event loop. Thread: the loop's; `set` and the attributes: any.

    Attributes:
        toxics: the present faults by direction; "upstream" is from client to server.
        faults: how often each fault took effect, by toxiproxy's names.
        passed_bytes: how many bytes were passed on, by direction.
        connections: how many were accepted.
        address: where it listens.
        random: the source of sizes and jitter.
        changed: an event that is set, and replaced by a new one, when toxics change.
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
        """Prepare a proxy; `start` makes it listen.

        `server`: the address to connect to. `seed`: of the random sizes and jitter, which it
        reproduces. `socket_buffer_bytes`: SO_SNDBUF and SO_RCVBUF of all sockets; by default the
        kernel's. On UNIX sockets a reset is only a close.
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
        """Stop listening, and reset all connections.

        Raises:
            BaseException: a failure of the proxy itself, if there was one.
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
        """Change the toxics, of existing connections too. Thread: any.

        A direction that is None is left as it is. `timeout_s` and `reset_peer_s` count from now, or
        from the beginning of a later connection. When this returns, the change has taken effect.
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
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # effective only before connecting
                sock.setsockopt(socket.SOL_SOCKET, option, self._socket_buffer_bytes)
        sock.setblocking(False)
        return sock

    async def _accept(self) -> None:
        while True:
            try:
                client, _ = await self._loop.sock_accept(self._listener)
            except OSError:  # out of descriptors, or the client has gone already
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
        """Serve one client; end both sides as one side has ended, or as a toxic ends it."""
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
        except OSError:  # a reset, a refusal, or out of descriptors
            pass
        finally:
            for sock in socks:
                end(sock)

    async def _flow(self, client: socket.socket, server: socket.socket) -> None:
        """Return when both directions have ended.

        Raises:
            ConnectionError: one side was reset, or a toxic resets both.
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
        """Wait until a toxic with a time expires, then raise.

        Raises:
            ConnectionError: the toxic is `reset_peer`.
            ConnectionClosed: the toxic is `timeout`.
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
    """Send the end of the stream, then drop input: closing with unread input is a reset."""
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
    """Run a `FaultProxy` on its own loop and thread, for clients that block.

    Thread: any. `settings`: the arguments of `FaultProxy`.
    """
    proxy = FaultProxy(server, **settings)

    async def main(ready: Callable[[], None], stop: asyncio.Event) -> None:
        async with proxy:
            ready()
            await stop.wait()

    thread = LoopThread(main, "fault proxy")
    thread.start()
    try:
        yield proxy
    finally:
        thread.stop()
    if thread.failure is not None:
        raise thread.failure
