"""How much memory the connections of a server may make the process hold: pure arithmetic."""

import dataclasses

from asyncrev.limits import REQUEST_BYTES, TLS_CONNECTION_BYTES, Limits

__all__ = ["MemoryBound"]


@dataclasses.dataclass(frozen=True)
class MemoryBound:
    """The bound of a server with `limits`. Thread: any.

    Attributes:
        limits: those of the server.
        bridges: how many bridges it has.
        framed: whether its processors get frames.
        replies_fit: whether no reply is longer than what it answers.
        tls: whether its connections use TLS, or may change to it.
        pending: whether replies come later, from coroutines or an executor.
        executor_bytes: what that executor holds besides.
    """

    limits: Limits
    bridges: int
    framed: bool
    replies_fit: bool
    tls: bool = False
    pending: bool = False
    executor_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """The most for all connections; without `replies_are_bounded`, for replies that fit."""
        limits = self.limits
        more = self.bridges - 1
        if self.framed:
            fitting_bytes = limits.framed_memory_bound_bytes + more * limits.framed_bridge_bytes
        else:
            fitting_bytes = limits.memory_bound_bytes + more * limits.bridge_bytes
        fitting_bytes += limits.max_connections * self._tls_bytes
        if self.pending:
            fitting_bytes += limits.pending_bytes + self.executor_bytes
            fitting_bytes += limits.max_connections * self._pending_connection_bytes
        # Two more: a reply that is copied to a write buffer, and one buffer that is moved.
        return fitting_bytes + (limits.max_connections + 2) * self._amplified_bytes

    @property
    def connection_bytes(self) -> int:
        """The most for one of them; a term of `total_bytes`."""
        limits = self.limits
        fitting_bytes = limits.framed_connection_bytes if self.framed else limits.connection_bytes
        fitting_bytes += self._tls_bytes + self._pending_connection_bytes
        return fitting_bytes + self._amplified_bytes

    @property
    def replies_are_bounded(self) -> bool:
        """Whether the bound holds whatever a processor returns."""
        return self.replies_fit or self.limits.max_reply_bytes > 0

    @property
    def _tls_bytes(self) -> int:
        return TLS_CONNECTION_BYTES if self.tls else 0

    @property
    def _pending_connection_bytes(self) -> int:
        if not self.pending:
            return 0
        limits = self.limits
        # Of framed connections the input counts in the buffer pool.
        input_bytes = 0 if self.framed else limits.in_flight_bytes + limits.slot_bytes
        return limits.pending_per_connection * REQUEST_BYTES + input_bytes

    @property
    def _amplified_bytes(self) -> int:
        return 0 if self.replies_fit else self.limits.amplified_bytes
