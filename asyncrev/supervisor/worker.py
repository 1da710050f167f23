"""The worker's end of the control channel: connections that are handed to it, orders, heartbeats.

A connection is not read before the supervisor can know that it was taken: until then it keeps a
copy, which it gives to another worker if this one dies.
"""

import asyncio
import collections
import contextlib
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from asyncrev.bridge.parts import progress_of
from asyncrev.bridge.running_time import RunningClock
from asyncrev.errors import LocalError
from asyncrev.server.liveness import Liveness
from asyncrev.server.server import Server
from asyncrev.states import ServerState
from asyncrev.supervisor.channel import Channel

__all__ = ["BEAT_S", "Control", "Orders"]

logger = logging.getLogger("asyncrev")

BEAT_S = 1.0
SOON_S = 0.01  # how long the news that connections have ended may wait for further ones
LEAVE_S = 1.0  # how long a supervisor that answers may take to notice that this worker leaves


class Orders(Protocol):
    """What a supervisor may order. Thread: the loop's."""

    def drain(self) -> None:
        """Answer what has arrived, and end; see `Control.leave`."""

    def close(self) -> None:
        """End at once."""

    def reopen(self) -> None:
        """Open the files again."""


class _Handed(NamedTuple):
    sock: socket.socket
    address: Any


class Control:
    """One worker, towards its supervisor. All methods: the loop's thread."""

    def __init__(self, sock: socket.socket, orders: Orders) -> None:
        """Read orders from now on.

        Args:
            sock: a non-blocking SOCK_SEQPACKET socket, this object's from now on.
            orders: who carries them out.
        """
        self._socket = sock
        self._orders = orders
        self._loop = asyncio.get_running_loop()
        self._server: Server | None = None
        self._handed: collections.deque[_Handed] = collections.deque()  # but not begun
        self._untold = 0  # of these, how many no "taken" tells yet
        self._taken = 0  # connections so far, with those for which there was no descriptor
        self._lost = 0  # of these, how many were taken and never came to the server
        self._told_ended = 0  # in the last beat
        # Time in which this loop ran counts. While it does not, the supervisor sees no beats.
        self._clock = RunningClock(self._loop.time())
        self._liveness = Liveness(self._clock.now_s)
        self._beating: asyncio.TimerHandle | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._telling: asyncio.Handle | None = None
        self._may_leave = asyncio.Event()  # nobody hands anything any more
        self._begun = asyncio.Event()  # nothing is handed and not begun
        self._begun.set()
        self._channel = Channel(sock, self._receive, self._note_end)

    def start(self, server: Server, fields: Mapping[str, Any]) -> None:
        """Say that `server` serves, and hand it connections from now on.

        `fields`: what it says of itself, plain JSON types.

        Raises:
            ValueError: `fields` are too long for a packet.
        """
        self._channel.send({"kind": "ready", "fields": fields})
        self._server = server
        server.connections.watch(self._note_change)
        self._beat()

    def note_stop_word(self) -> None:
        """Say that a client asks for the end of the service; without a supervisor, drain."""
        if self._channel.is_open:
            self._channel.send({"kind": "stop_service"})
        else:
            self._orders.drain()

    async def leave(self) -> None:
        """Wait until all connections that were handed over are the server's, before its drain.

        If nobody has ordered the drain, the supervisor hears of it, and its answer, an order to
        drain, comes behind the last connection. What comes later is left to other workers.
        """
        if not self._may_leave.is_set():
            self._channel.send({"kind": "draining"})
            try:
                async with asyncio.timeout(LEAVE_S):
                    await self._may_leave.wait()
            except TimeoutError:
                # What it does not know to be taken stays its own, and is nobody's here any more.
                # A shutdown tells it so, though a copy of the socket stays open.
                logger.warning("the supervisor does not answer; draining without it")
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                self.close()
        await self._begun.wait()

    def close(self) -> None:
        """Say and do no more. Idempotent."""
        for timer in (self._beating, self._soon, self._telling):
            if timer is not None:
                timer.cancel()
        self._channel.close()
        for sock, _ in self._handed:
            sock.close()
        self._handed.clear()
        self._begun.set()

    # -- what the supervisor says ------------------------------------------------------------

    def _receive(self, packet: dict[str, Any], descriptors: Sequence[int]) -> None:
        kind = packet.get("kind")
        if kind == "connection":
            self._take(descriptors, packet.get("address"))
            return
        for fd in descriptors:
            os.close(fd)
        if kind == "drain":
            self._may_leave.set()
            self._orders.drain()
        elif kind == "close":
            self._orders.close()
        elif kind == "reopen":
            self._orders.reopen()
        else:
            logger.error("an order that is not known: %r", kind)

    def _note_end(self) -> None:
        """Drain: the supervisor has died. What it has handed over is nobody else's now."""
        logger.warning("the supervisor is gone")
        self._may_leave.set()
        self._begin(len(self._handed))
        self._orders.drain()

    # -- connections -------------------------------------------------------------------------

    def _take(self, descriptors: Sequence[int], address: Any) -> None:
        if self._server is None or self._server.state is not ServerState.SERVING:
            for fd in descriptors:  # the supervisor has a copy, and nothing says it was taken
                os.close(fd)
            return
        if not descriptors:
            self._leave_untaken()
            return
        self._taken += 1
        for fd in descriptors[:1]:
            sock = socket.socket(fileno=fd)
            sock.setblocking(False)
            self._handed.append(_Handed(sock, _address(address)))
            self._untold += 1
            self._begun.clear()
        for fd in descriptors[1:]:
            os.close(fd)
        if self._telling is None:  # one packet for all that come in this iteration
            self._telling = self._loop.call_soon(self._tell_taken)

    def _leave_untaken(self) -> None:
        """Say that this process had no descriptor for a connection; the supervisor has a copy."""
        if self._telling is not None:  # the supervisor knows by the order which one it is
            self._telling.cancel()
            self._tell_taken()
        self._taken += 1
        self._channel.send({"kind": "untaken", "total": self._taken})

    def _tell_taken(self) -> None:
        self._telling = None
        number = self._untold
        self._untold = 0
        packet = {"kind": "taken", "total": self._taken}
        self._channel.send(packet, then=lambda: self._begin(number))

    def _begin(self, number: int) -> None:
        """Serve the first `number` of those that were handed over."""
        for _ in range(min(number, len(self._handed))):
            sock, address = self._handed.popleft()
            assert self._server is not None
            try:
                self._server.accept_socket(sock, address)
            except LocalError as error:  # it is closed meanwhile, by an error
                self._lost += 1
                logger.debug("a connection that was taken is closed: %s", error)
        if not self._handed:
            self._begun.set()

    # -- heartbeats --------------------------------------------------------------------------

    @property
    def _connections(self) -> int:
        assert self._server is not None
        return len(self._server.connections) + self._server.connections.arriving

    @property
    def _ended(self) -> int:
        assert self._server is not None
        return self._server.connections.accepted - self._connections + self._lost

    def _beat(self) -> None:
        self._beating = self._loop.call_later(BEAT_S, self._beat)
        assert self._server is not None
        threads = [progress_of(bridge.parts) for bridge in self._server.bridges]
        self._liveness.note(self._clock.read(self._loop.time(), BEAT_S), {"threads": threads})
        self._tell_counts()

    def _note_change(self) -> None:
        if self._soon is None and self._ended > self._told_ended:
            self._soon = self._loop.call_later(SOON_S, self._tell_soon)

    def _tell_soon(self) -> None:
        self._soon = None
        self._tell_counts()

    def _tell_counts(self) -> None:
        if self._channel.queued:  # nobody reads; the next beat will do
            return
        # A connection counts twice for a moment, as arriving and as open.
        self._told_ended = max(self._told_ended, self._ended)
        self._channel.send(
            {
                "kind": "beat",
                "connections": self._connections,
                "ended": self._told_ended,
                "thread_idle_s": round(self._liveness.thread_idle_s(self._clock.now_s), 3),
            }
        )


def _address(told: Any) -> Any:
    """Return an address as `socket.accept` gives it; JSON has neither tuples nor bytes."""
    if isinstance(told, list):
        return tuple(told)
    return os.fsencode(told) if isinstance(told, str) and told[:1] == "\0" else told
