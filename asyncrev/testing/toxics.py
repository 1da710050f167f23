"""The faults of `faults.FaultProxy`, and one direction of a connection that has them.

The faults, their names and their meanings are those of Shopify's toxiproxy. Here names contain the
units, and delayed data is not dropped while its connection lives:

    latency       each chunk is delayed by `latency_s` +- `jitter_s`; the order is kept
    bandwidth     at most `bandwidth_bytes_per_s` are passed on
    slow_close    the end of the stream is delayed by `slow_close_s`
    timeout       nothing is passed on; after `timeout_s` both sides are closed; with 0 never
    reset_peer    after `reset_peer_s` both sides are reset
    slicer        chunks are split into `slicer_bytes` +- `slicer_variation_bytes`, with
                  `slicer_delay_s` between them
    limit_data    both sides are closed when `limit_bytes` have been passed on
"""

import asyncio
import collections
import contextlib
import dataclasses
import math
import os
import random
import socket
from typing import Protocol

from asyncrev.errors import SettingsError

__all__ = ["CHUNK_BYTES", "ConnectionClosed", "Flow", "Toxics"]

CHUNK_BYTES = 64 * 1024

_CHUNK_COST_BYTES = 128  # memory of a queued chunk beside its bytes
_LOOK_EVERY_S = 0.05  # checks a side that is not read for a reset
_BANDWIDTH_STEP_S = 0.02  # shorter sleeps are not exact


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Toxics:
    """The faults of one direction, see above; by default none."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bandwidth_bytes_per_s: float = math.inf
    slow_close_s: float = 0.0
    timeout_s: float | None = None
    reset_peer_s: float | None = None
    slicer_bytes: int | None = None
    slicer_variation_bytes: int = 0
    slicer_delay_s: float = 0.0
    limit_bytes: int | None = None

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            SettingsError: a value is not allowed; the message has the setting, the value and the
                allowed values.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and not value >= 0:
                raise SettingsError(f"{field.name} is {value}; it must be at least 0")
        if self.jitter_s > self.latency_s:
            raise SettingsError(
                f"jitter_s is {self.jitter_s}; it must be at most latency_s, {self.latency_s}"
            )
        if not self.bandwidth_bytes_per_s > 0:
            raise SettingsError("bandwidth_bytes_per_s is 0; it must be above, or use timeout_s=0")
        if self.slicer_bytes is not None and not self.slicer_variation_bytes < self.slicer_bytes:
            raise SettingsError(
                f"slicer_variation_bytes is {self.slicer_variation_bytes}; it must be less than "
                f"slicer_bytes, which is {self.slicer_bytes}"
            )


class Faults(Protocol):
    """The part of a proxy that a flow uses; see `FaultProxy`."""

    toxics: dict[str, Toxics]
    faults: collections.Counter[str]
    passed_bytes: dict[str, int]
    random: random.Random
    changed: asyncio.Event


class ConnectionClosed(Exception):
    """A toxic ends this connection in an orderly way."""


class Flow:
    """One direction of a connection. Thread: loop. Memory: two chunks.

    It reads into a short queue and writes from it, so it stops reading when the sink does.
    """

    def __init__(
        self, proxy: Faults, name: str, source: socket.socket, sink: socket.socket
    ) -> None:
        """Pass `source` on to `sink`, with the toxics of direction `name`, such as "upstream"."""
        self._proxy = proxy
        self._name = name
        self._source = source
        self._sink = sink
        self._passed_bytes = 0
        self._queue: collections.deque[tuple[float, bytes]] = collections.deque()
        self._queued_bytes = 0
        self._moved = asyncio.Event()  # set when the queue changes

    @property
    def _toxics(self) -> Toxics:
        return self._proxy.toxics[self._name]

    async def read(self) -> None:
        """Queue what the source sends, with b"" for its end; then watch for a reset.

        Raises:
            ConnectionError: the source was reset.
        """
        loop = asyncio.get_running_loop()
        data = b"-"
        while data:
            while self._queued_bytes >= CHUNK_BYTES:
                await self._wait_moved(_LOOK_EVERY_S)
                self._look_for_reset()
            data = await loop.sock_recv(self._source, CHUNK_BYTES)
            due_s = loop.time()
            if latency_s := self._toxics.latency_s:
                jitter_s = self._toxics.jitter_s
                due_s += latency_s + self._proxy.random.uniform(-jitter_s, jitter_s)
                self._proxy.faults["latency"] += 1
            self._queue.append((due_s, data))
            self._queued_bytes += len(data) + _CHUNK_COST_BYTES
            self._moved.set()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            self._look_for_reset()

    def _look_for_reset(self) -> None:
        """Raise ConnectionError if the source was reset; for when nothing reads from it."""
        if number := self._source.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise ConnectionResetError(number, os.strerror(number))

    async def write(self) -> None:
        """Pass on the queued chunks, up to the end of the stream.

        Raises:
            ConnectionError: the sink was reset.
            ConnectionClosed: a toxic closes the connection.
        """
        while True:
            while not self._queue:
                await self._wait_moved(None)
            due_s, data = self._queue.popleft()
            await asyncio.sleep(due_s - asyncio.get_running_loop().time())
            if not data:
                break
            await self._pass(data)
            self._queued_bytes -= len(data) + _CHUNK_COST_BYTES
            self._moved.set()
        await self._wait_open()
        if self._toxics.slow_close_s:
            self._proxy.faults["slow_close"] += 1
            await asyncio.sleep(self._toxics.slow_close_s)
        self._sink.shutdown(socket.SHUT_WR)

    async def _wait_moved(self, timeout_s: float | None) -> None:
        self._moved.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._moved.wait()

    async def _wait_open(self) -> None:
        """Wait while a `timeout` toxic holds all data; when it expires, the connection closes."""
        if self._toxics.timeout_s == 0:
            self._proxy.faults["timeout"] += 1
        while self._toxics.timeout_s is not None:
            await self._proxy.changed.wait()

    async def _pass(self, data: bytes) -> None:
        """Pass on all of `data`, each piece with the toxics that are set at that moment."""
        loop = asyncio.get_running_loop()
        left = memoryview(data)
        while left:
            await self._wait_open()
            toxics = self._toxics
            piece = left[: self._piece_bytes(toxics, len(left))]
            await loop.sock_sendall(self._sink, piece)
            left = left[len(piece) :]
            self._passed_bytes += len(piece)
            self._proxy.passed_bytes[self._name] += len(piece)
            if toxics.limit_bytes is not None and self._passed_bytes >= toxics.limit_bytes:
                self._proxy.faults["limit_data"] += 1
                raise ConnectionClosed
            pause_s = len(piece) / toxics.bandwidth_bytes_per_s
            if toxics.slicer_bytes is not None:
                pause_s += toxics.slicer_delay_s
            if pause_s:
                await asyncio.sleep(pause_s)

    def _piece_bytes(self, toxics: Toxics, most_bytes: int) -> int:
        """Return how many bytes may be passed on at once."""
        if toxics.slicer_bytes is not None:
            variation = toxics.slicer_variation_bytes
            sliced = toxics.slicer_bytes + self._proxy.random.randint(-variation, variation)
            if sliced < most_bytes:
                most_bytes = sliced
                self._proxy.faults["slicer"] += 1
        if toxics.bandwidth_bytes_per_s < math.inf:
            step = math.ceil(toxics.bandwidth_bytes_per_s * _BANDWIDTH_STEP_S)
            most_bytes = min(most_bytes, step)
            self._proxy.faults["bandwidth"] += 1
        if toxics.limit_bytes is not None:
            most_bytes = max(0, min(most_bytes, toxics.limit_bytes - self._passed_bytes))
        return most_bytes
