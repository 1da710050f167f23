"""The registry of a server's connections: which there are, how many there may be, what they did."""

import asyncio
import collections
import dataclasses
import logging
from collections.abc import Callable, Iterator

from asyncrev.cleanup import attempt
from asyncrev.connection_info import ConnectionInfo
from asyncrev.server.full_notice import FullNotice
from asyncrev.server.server_connection import ServerConnection
from asyncrev.statistics import ClosedConnection
from asyncrev.work.lane_work import InputEnd, LaneWork

__all__ = ["ConnectionTotals", "Connections"]

logger = logging.getLogger("asyncrev")

# Between two looks at who is to be drained, and whether anybody is left.
LEAST_SPREAD_STEP_S, MOST_SPREAD_STEP_S = 0.01, 0.1


@dataclasses.dataclass(slots=True)
class ConnectionTotals:
    """What all connections have received and replied, once those of `connections` are added.

    Whoever adds them may take its time: no connection is counted twice, and none that was open at
    the beginning is left out, although it may have ended meanwhile.

    Attributes:
        connections: those that were open at the beginning.
        received_bytes, replied_bytes: of those that had ended then, and of what was added.
    """

    connections: list[ServerConnection]
    received_bytes: int
    replied_bytes: int


class Connections:
    """The connections of one server. All methods: the loop's thread.

    Iterating visits the open connections; the set may change meanwhile. `len` is their number.

    Attributes (written here only):
        accepted: how many sockets were accepted so far.
        arriving: how many of these are on their way to a connection; `Arrivals` reports them.
        high: the most connections that were open at once.
    """

    def __init__(self, max_connections: int, on_change: Callable[[], None]) -> None:
        """Prepare an empty registry.

        Args:
            max_connections: the most that may be open or arriving. See `check_limit`.
            on_change: called when that number has changed.
        """
        self._max_connections = max_connections
        self._on_change = on_change
        self._notice = FullNotice(
            f"max_connections, which is {max_connections}",
            "further connections wait in the accept queue until one ends",
            "connections are accepted",
        )
        self._open: set[ServerConnection] = set()
        self._removed = asyncio.Event()
        self._closed = False
        self._observers: list[Callable[[ClosedConnection], object]] = []
        # What the lanes of connections knew that have given theirs up and are not lost yet. Here,
        # so that an idle connection has no room for it.
        self._ending: dict[
            ServerConnection, tuple[ConnectionInfo | None, InputEnd, int | None]
        ] = {}
        self._removed_received_bytes = 0  # of connections that were removed
        self._removed_replied_bytes = 0
        self._aborted: collections.Counter[str] = collections.Counter()
        self.accepted = 0
        self.arriving = 0
        self.high = 0

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[ServerConnection]:
        return iter(list(self._open))

    @property
    def is_idle(self) -> bool:
        """Whether no connection is open or arriving."""
        return not (self._open or self.arriving)

    @property
    def received_bytes(self) -> int:
        """What all connections so far have received."""
        return self._removed_received_bytes + sum(one.received_bytes for one in self._open)

    @property
    def replied_bytes(self) -> int:
        """What all connections so far have replied."""
        return self._removed_replied_bytes + sum(one.replied_bytes for one in self._open)

    def begin_totals(self) -> ConnectionTotals:
        """Return totals to which the open connections are still to be added.

        `received_bytes` and `replied_bytes` add them at once, which takes 0.4 us for each.
        """
        return ConnectionTotals(
            list(self._open), self._removed_received_bytes, self._removed_replied_bytes
        )

    @property
    def aborted(self) -> dict[str, int]:
        """How many this side has aborted so far, by reason."""
        return dict(self._aborted)

    def watch(self, callback: Callable[[], object]) -> None:
        """Call `callback`, too, whenever a connection has arrived or gone from now on."""
        before = self._on_change

        def both() -> None:
            before()
            callback()

        self._on_change = both

    @property
    def is_observed(self) -> bool:
        """Whether anybody is told of closed connections."""
        return bool(self._observers)

    def observe(self, callback: Callable[[ClosedConnection], object]) -> None:
        """Call `callback` for each connection that ends from now on; errors of it are logged."""
        self._observers.append(callback)

    def note_ending(self, connection: ServerConnection, work: LaneWork) -> None:
        """Keep what the lane of an observed connection knew, until `take_ending`."""
        self._ending[connection] = (work.info, work.input_end, work.frames)

    def take_ending(
        self, connection: ServerConnection
    ) -> tuple[ConnectionInfo | None, InputEnd, int | None]:
        """Return who the peer was, why its input ended, and how many frames it had, once."""
        return self._ending.pop(connection, (None, InputEnd.PEER, None))

    def tell_closed(self, closed: ClosedConnection) -> None:
        """Tell those who observe."""
        for callback in self._observers:
            attempt("tell of a closed connection", lambda call=callback: call(closed))  # type: ignore[misc]

    # -- the way of a connection -------------------------------------------------------------

    def begin_arrival(self) -> None:
        """Count an accepted socket."""
        self.accepted += 1
        self.arriving += 1
        self._on_change()

    def end_arrival(self) -> None:
        """Count off an accepted socket: it is a connection now (see `add`), or was closed."""
        self.arriving -= 1
        self._on_change()

    def add(self, connection: ServerConnection) -> None:
        """Register a connection that was made; after `close` it is aborted at once."""
        self._open.add(connection)
        self.high = max(self.high, len(self._open))
        if self._closed:
            connection.abort("server closed", None)

    def remove(self, connection: ServerConnection) -> None:
        """Forget a connection and keep what it has counted. Idempotent."""
        connection.leave_place()
        if connection not in self._open:
            return
        self._open.discard(connection)
        self._removed_received_bytes += connection.received_bytes
        self._removed_replied_bytes += connection.replied_bytes
        if connection.abort_reason is not None:
            self.count_aborted(connection.abort_reason)
        self._removed.set()
        self._on_change()

    def count_aborted(self, reason: str, number: int = 1) -> None:
        """Count what was aborted; for sockets that did not become connections."""
        if number:
            self._aborted[reason] += number

    def check_limit(self) -> bool:
        """Return whether `max_connections` is reached, and log changes of that."""
        full = len(self._open) + self.arriving >= self._max_connections
        self._notice.see(full)
        return full

    # -- the end -----------------------------------------------------------------------------

    async def drain_all(self, spread_s: float = 0.0) -> None:
        """Have each answer what has arrived, then close. A connection that fails is aborted.

        `spread_s`: over how much time; the last is told a little before its end. It returns
        earlier if none is left.
        """
        waiting = list(self._open)
        number = len(waiting)
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        step_s = min(MOST_SPREAD_STEP_S, max(LEAST_SPREAD_STEP_S, spread_s / max(1, number)))
        while waiting and self._open:
            share = (loop.time() - begin_s) / spread_s if spread_s else 1.0
            still_served = number - min(number, 1 + int(share * number))
            for connection in waiting[still_served:]:
                if connection in self._open:
                    self._drain(connection)
            del waiting[still_served:]
            if waiting:
                await asyncio.sleep(step_s)

    def abort_all(self, reason: str) -> None:
        """Abort each connection; `reason` as in `ServerStatistics.aborted`."""
        for connection in self:
            self._abort(connection, reason)

    async def wait_empty(self) -> None:
        """Wait until no connection is open."""
        while self._open:
            self._removed.clear()
            await self._removed.wait()

    def close(self) -> None:
        """Abort connections that are made from now on, and log no more of the limit. Idempotent."""
        self._closed = True
        self._notice.close()

    def _drain(self, connection: ServerConnection) -> None:
        if not attempt("drain a connection", connection.drain):
            self._abort(connection, "drain failed")

    def _abort(self, connection: ServerConnection, reason: str) -> None:
        # One whose transport fails at that is forgotten, so that nobody waits for it.
        if not attempt("abort a connection", lambda: connection.abort(reason, None)):
            self.remove(connection)
