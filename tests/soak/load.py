"""The load of a soak: clients of every kind on one server, directly and through a fault proxy."""

import asyncio
import collections
import contextlib
import itertools
import random
import socket
from collections.abc import Callable, Coroutine, Iterator

from asyncrev.testing.faults import FaultProxy, Toxics
from asyncrev.testing.frame_history import FrameHistory
from asyncrev.testing.history import History
from tests.soak.clients import connected, ping_pong, pipelined, receive_into, resetting, split
from tests.support import flipped

SIZES = (1, 17, 64, 64, 64, 500, 4096, 20_000, 100_000)
CHANGE_EVERY_S = 0.05
HELD_S = 8.0  # how long a client that never reads stays, unless it is aborted before
# For who takes little at a time. With megabytes in the kernel's buffers a server sees nothing of
# that for seconds, and takes it for a stall.
SLOW_BUFFER_BYTES = 64 * 1024

# Waits that a busy machine makes long; nothing depends on their length.
DEADLINE_S = 60.0

_ids = itertools.count()


def _reversed(payload: bytes) -> bytes:
    return payload[::-1]


class Load:
    """What runs against one server until `stop` is set. Thread: loop.

    Attributes:
        connections: how many there were so far, by kind.
        verified_bytes: of replies, on connections that have ended.
        errors: what was wrong, as text; the first one sets `stop`.
        proxy: through which some of the clients go.
    """

    def __init__(
        self, address: tuple[str, int], framing: str, seed: int, stop: asyncio.Event
    ) -> None:
        """Prepare; `run` begins. `framing` is "raw", for a server that flips, or that of frames."""
        self.connections: collections.Counter[str] = collections.Counter()
        self.verified_bytes = 0
        self.errors: list[str] = []
        self.proxy = FaultProxy(address, seed=seed)
        self._address = address
        self._framing = framing
        self._draw = random.Random(seed)
        self._stop = stop

    async def run(self) -> None:
        """Return when `stop` is set and every client has ended."""
        async with self.proxy:
            kinds: list[tuple[Callable[[], Coroutine[None, None, None]], int]] = [
                (self._steady, 2),
                (self._ping_pong, 2),
                (self._short_lived, 2),
                (self._half_closing, 2),
                (self._resetting, 2),
                (self._never_reading, 3),
                (self._through_faults, 6),
            ]
            changing = asyncio.create_task(self._change_faults())
            try:
                await asyncio.gather(
                    *(self._repeat(kind) for kind, count in kinds for _ in range(count))
                )
            finally:
                changing.cancel()

    async def _repeat(self, kind: Callable[[], Coroutine[None, None, None]]) -> None:
        while not self._stop.is_set():
            self.connections[kind.__name__.strip("_")] += 1
            try:
                await kind()
            except Exception as error:  # of any kind: it is what a soak looks for
                self.errors.append(f"{kind.__name__.strip('_')}: {error!r}")
                self._stop.set()
            await asyncio.sleep(0)

    @contextlib.contextmanager
    def _history(self) -> Iterator[History]:
        connection_id = next(_ids) % (1 << 20)
        if self._framing == "raw":
            history = History(connection_id, flipped)
        else:
            history = FrameHistory(connection_id, _reversed, self._framing)
        try:
            yield history
        finally:
            self.verified_bytes += history.received_bytes

    def _sizes(self, most: int) -> list[int]:
        return self._draw.choices(SIZES, k=self._draw.randint(1, most))

    def _sizes_until_stop(self) -> Iterator[int]:
        while not self._stop.is_set():
            yield self._draw.choice(SIZES)

    # -- the kinds -------------------------------------------------------------------------------

    async def _steady(self) -> None:
        """One connection for the whole run, with as much on its way as is taken."""
        with self._history() as history:
            async with connected(self._address, SLOW_BUFFER_BYTES) as sock:
                sizes = self._sizes_until_stop()
                await pipelined(history, sock, sizes, deadline_s=DEADLINE_S, pause_s=0.005)

    async def _ping_pong(self) -> None:
        """One connection for the whole run, with one message at a time."""
        with self._history() as history:
            async with connected(self._address) as sock:
                await ping_pong(history, sock, self._sizes_until_stop(), deadline_s=DEADLINE_S)

    async def _short_lived(self) -> None:
        with self._history() as history:
            async with connected(self._address) as sock:
                await ping_pong(history, sock, self._sizes(5), deadline_s=DEADLINE_S)

    async def _half_closing(self) -> None:
        with self._history() as history:
            async with connected(self._address) as sock:
                await pipelined(history, sock, self._sizes(20), deadline_s=DEADLINE_S)

    async def _resetting(self) -> None:
        with self._history() as history:
            async with connected(self._address) as sock:
                await resetting(history, sock, self._sizes(10))
        await asyncio.sleep(0.01)

    async def _never_reading(self) -> None:
        """Send until nothing is taken any more, wait to be aborted, and verify what came before."""
        loop = asyncio.get_running_loop()
        with self._history() as history:
            async with connected(self._address, 4096) as sock:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HELD_S):
                        with contextlib.suppress(OSError):
                            for nbytes in self._sizes_until_stop():
                                await loop.sock_sendall(sock, history.take(nbytes))
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RD)
                    while await receive_into(history, sock, DEADLINE_S):
                        pass
                history.finish(complete=False)
                split(sock)

    async def _through_faults(self) -> None:
        """Pipelined or one at a time, and ended at any moment by a fault."""
        talk = self._draw.choice((pipelined, ping_pong))
        with self._history() as history, contextlib.suppress(OSError):
            async with connected(self.proxy.address) as sock:
                await talk(history, sock, self._sizes(30), may_end=True, deadline_s=DEADLINE_S)

    async def _change_faults(self) -> None:
        while True:
            self.proxy.set(upstream=self._toxics(), downstream=self._toxics())
            await asyncio.sleep(CHANGE_EVERY_S)

    def _toxics(self) -> Toxics:
        draw = self._draw.choice
        return Toxics(
            latency_s=draw((0, 0, 0.002, 0.01)),
            bandwidth_bytes_per_s=draw((float("inf"), 1e6, 1e7)),
            slow_close_s=draw((0, 0.02)),
            slicer_bytes=draw((None, None, 100, 3000)),
            timeout_s=draw((None, None, None, 0, 0.03)),
            reset_peer_s=draw((None, None, None, 0.04)),
            limit_bytes=draw((None, None, 100_000)),
        )
