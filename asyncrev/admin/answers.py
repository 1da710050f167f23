"""What a process says of itself when an admin endpoint asks: plain JSON types, made on its loop.

What takes time for each connection is done for some of them in each iteration of the loop, so that
other connections wait no longer for it than for a delivery.
"""

import asyncio
import dataclasses
import heapq
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from asyncrev.admin.histograms import histograms_of
from asyncrev.admin.history import PAUSED_BY
from asyncrev.admin.process_figures import ProcessFigures
from asyncrev.bridge.parts import progress_of
from asyncrev.connection.protocol import ConnectionProtocol
from asyncrev.connection.reading import NO_HANDSHAKE_PLACE, WRITE_BUFFER_FULL
from asyncrev.log_text import name_of_peer, printable
from asyncrev.server.server import Server
from asyncrev.states import ConnectionState, ServerState
from asyncrev.statistics import ConnectionStatistics
from asyncrev.version import __version__

__all__ = ["MOST_LISTED", "PAUSED_BY", "SORTS", "Answers"]

# At 0.4 us for each connection, less than what the loop does at once anyway (`Listener`, `Sweep`).
SLICE = 256
MOST_SLICES = 32  # so that a busy loop's answer comes in time; beyond 8192 connections they grow
DETAILED_SLICE = 32  # of connections of which everything is told, at 8 us for each

MOST_LISTED = 1000

SORTS: Mapping[str, Callable[[ConnectionProtocol, float], float]] = {
    "bytes": lambda one, _: one.received_bytes + one.replied_bytes,
    "received": lambda one, _: one.received_bytes,
    "replied": lambda one, _: one.replied_bytes,
    "in_flight": lambda one, _: one.in_flight_bytes,
    "age": lambda one, now_s: now_s - one.made_s,
}


class Answers:
    """Answers for one server. All methods: the thread of the server's loop.

    Attributes:
        is_stopping: whether the process has been asked to stop, although it may still accept.
    """

    def __init__(self, server: Server) -> None:
        """Answer for `server`, whose durations are measured from now on."""
        self._server = server
        for bridge in server.bridges:
            bridge.parts.measure()
        self._process = ProcessFigures()
        self.is_stopping = False

    async def answer(self, what: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to "health", "statistics" or "connections".

        Raises:
            ValueError: `what` is none of them.
        """
        if what == "health":
            return self.health()
        if what == "statistics":
            return await self.statistics()
        if what == "connections":
            return await self.connections(**arguments)
        raise ValueError(f"nobody answers {what!r}")

    def health(self) -> dict[str, Any]:
        """Return what readiness and liveness are judged by."""
        server = self._server
        return {
            "state": server.state.value,
            "stopping": self.is_stopping or server.state is ServerState.DRAINING,
            "accepting": server.accepting,
            "connections": len(server.connections) + server.connections.arriving,
            "max_connections": server.limits.max_connections,
            "threads": [progress_of(bridge.parts) for bridge in server.bridges],
        }

    async def statistics(self) -> dict[str, Any]:
        """Return the statistics, with limits beside values."""
        server = self._server
        totals = server.connections.begin_totals()
        paused = dict.fromkeys(PAUSED_BY, 0)
        for part in _slices(totals.connections, SLICE):
            for one in part:
                totals.received_bytes += one.received_bytes
                totals.replied_bytes += one.replied_bytes
                if one.pauses:
                    for by in _paused_by(one):
                        paused[by] += 1
            await asyncio.sleep(0)
        statistics = dataclasses.asdict(server.statistics(totals))
        statistics["bridges"] = list(statistics["bridges"])
        days_left = statistics["certificate_days_left"]
        return {
            "version": __version__,
            "python": platform.python_version(),
            **self.health(),
            "statistics": statistics,
            "accept_errors": server.accept_errors_by_name,
            "paused": paused,
            "limits": self._limits(),
            # Of whole seconds, as a certificate has it.
            "certificate_expires_s": (
                None if days_left is None else round(time.time() + days_left * 86400)
            ),
            "process": self._process.read(),
            "histograms": histograms_of(server),
        }

    async def connections(self, sort: str = "bytes", limit: int = 100) -> dict[str, Any]:
        """Return the `limit` connections that have most of what `sort` names.

        Raises:
            ValueError: `sort` is not one of `SORTS`, or `limit` not from 0 to `MOST_LISTED`.
        """
        if sort not in SORTS:
            raise ValueError(f"sort is {sort!r}; it must be one of {', '.join(SORTS)}")
        if not 0 <= limit <= MOST_LISTED:
            raise ValueError(f"limit is {limit}; it must lie between 0 and {MOST_LISTED}")
        chosen = await _most(list(self._server.connections), sort, limit)
        listed = []
        for part in _slices(chosen, DETAILED_SLICE):
            listed += [_told(one) for one in part if one.state is not ConnectionState.LOST]
            await asyncio.sleep(0)
        return {"open": len(self._server.connections), "sort": sort, "connections": listed}

    def _limits(self) -> dict[str, Any]:
        limits, bridges = self._server.limits, len(self._server.bridges)
        return {
            "max_connections": limits.max_connections,
            "ring_entries": limits.entries * bridges,
            "pool_bytes": limits.pool_bytes * bridges,
            "tls_handshakes_in_flight": limits.tls_handshakes_in_flight,
        }


async def _most(
    connections: Sequence[ConnectionProtocol], sort: str, limit: int
) -> list[ConnectionProtocol]:
    """Return the `limit` with the highest keys, the highest first."""
    key, now_s = SORTS[sort], asyncio.get_running_loop().time()
    best: list[tuple[float, int, ConnectionProtocol]] = []
    number = 0
    for part in _slices(connections, SLICE):
        for one in part:
            number += 1  # decides between equal keys
            item = (key(one, now_s), -number, one)
            if len(best) < limit:
                heapq.heappush(best, item)
            elif best and item > best[0]:
                heapq.heapreplace(best, item)
        await asyncio.sleep(0)
    return [one for *_, one in sorted(best, reverse=True)]


def _slices(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    size = max(size, -(-len(items) // MOST_SLICES))
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


def _paused_by(one: ConnectionProtocol) -> list[str]:
    """Return for what a connection is not read, in the words of `PAUSED_BY`."""
    pauses = one.pauses
    found = ["write"] if pauses & WRITE_BUFFER_FULL else []
    waits_for = one.waits_for
    if waits_for is not None:
        found.append(waits_for)
    if pauses & NO_HANDSHAKE_PLACE:
        found.append("handshake")
    return found


def _told(one: ConnectionProtocol) -> dict[str, Any]:
    known: ConnectionStatistics = one.statistics()
    info = known.info
    tls = None if info is None else info.tls
    return {
        "peer": printable(name_of_peer(None if info is None else info.peer_address)),
        "state": known.state.value,
        "open_s": round(known.open_s, 3),
        "received_bytes": known.received_bytes,
        "replied_bytes": known.replied_bytes,
        "frames": known.frames,
        "in_flight_bytes": known.in_flight_bytes,
        "unsent_bytes": known.unsent_bytes,
        "paused_by": _paused_by(one),
        "tls": None
        if tls is None
        else {
            "version": tls.version,
            "cipher": tls.cipher,
            "alpn": tls.alpn,
            "server_name": tls.server_name,
        },
    }
