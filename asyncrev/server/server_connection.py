"""A server's connection: it registers itself, and tells how it has ended."""

import asyncio
from typing import Any, Protocol

from asyncrev.bridge.bridge import Bridge
from asyncrev.connection.settings import ConnectionSettings
from asyncrev.connection_info import ConnectionInfo, ProxyInfo
from asyncrev.server.handshake_entrance import HandshakeLimited
from asyncrev.server.peer_limits import NO_PLACE, PeerPlace
from asyncrev.states import InputState
from asyncrev.statistics import ClosedConnection
from asyncrev.work.lane_work import InputEnd, LaneWork

__all__ = ["ServerConnection"]


class Registry(Protocol):
    """What a connection tells of itself; see `Connections`."""

    def add(self, connection: "ServerConnection") -> None: ...
    def remove(self, connection: "ServerConnection") -> None: ...
    @property
    def is_observed(self) -> bool: ...
    def note_ending(self, connection: "ServerConnection", work: LaneWork) -> None: ...
    def take_ending(
        self, connection: "ServerConnection"
    ) -> tuple[ConnectionInfo | None, InputEnd, int | None]: ...
    def tell_closed(self, closed: ClosedConnection) -> None: ...


class ServerConnection(HandshakeLimited):
    """A connection that registers itself while it is open."""

    __slots__ = ("_place", "_registry")

    def __init__(self, registry: Registry, bridge: Bridge, settings: ConnectionSettings) -> None:
        super().__init__(bridge, settings)
        self._registry = registry
        self._place = NO_PLACE

    def note_accepted(self, address: Any, place: PeerPlace = NO_PLACE) -> None:
        """Note what accept(2) has said of the peer, before the connection is made.

        `place`: what it has taken of its address's connections; given back at the end.

        Of a peer that has reset its connection since, the socket does not tell any more.
        """
        self._accepted_from = address
        self._place = place

    def leave_place(self) -> None:
        """Count no longer as a connection of the peer's address. Idempotent."""
        self._place.leave()

    def note_proxied(self, proxy: ProxyInfo, waited_s: float) -> None:
        """Note what a PROXY header has said if the address is from one.

        `waited_s`: how long the header has taken, which the connection's deadlines count.
        """
        self._proxy = proxy
        self._deadlines.count_from(waited_s)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register."""
        super().connection_made(transport)
        self._registry.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Unregister, and tell of the end."""
        had_open_input = self._input.state is InputState.OPEN
        super().connection_lost(error)
        self._registry.remove(self)
        if self._registry.is_observed:
            self._registry.tell_closed(self._closed_connection(error, had_open_input))

    def _give_lane_up(self) -> None:
        if self._lane is not None and self._registry.is_observed:
            self._registry.note_ending(self, self._lane.work)
        super()._give_lane_up()

    def _closed_connection(self, error: Exception | None, had_open_input: bool) -> ClosedConnection:
        info, input_end, frames = self._registry.take_ending(self)
        return ClosedConnection(
            info=info,
            duration_s=asyncio.get_running_loop().time() - self._made_s,
            received_bytes=self.received_bytes,
            replied_bytes=self.replied_bytes,
            frames=frames,
            end=self._end_word(error, had_open_input, input_end),
        )

    def _end_word(self, error: Exception | None, had_open_input: bool, input_end: InputEnd) -> str:
        if self.abort_reason is not None:
            return self.abort_reason
        if isinstance(error, ConnectionError):
            return "reset by peer"
        if error is not None:
            return "connection lost"
        if input_end is InputEnd.DRAIN:
            return "drained"
        return "closed" if had_open_input else "closed by peer"
