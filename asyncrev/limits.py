"""Settings with their defaults, each with its unit.

A default gives its provenance: measured here (a page in docs/decisions/), or copied from whom.
"""

import dataclasses
import math
import sys

from asyncrev.errors import SettingsError
from asyncrev.limit_bounds import (
    FIXED_CONNECTION_BYTES,
    FRAME_OVERHEAD_BYTES,
    LEAST_BLOCK_BYTES,
    LEAST_READ_BYTES,
    REQUEST_BYTES,
    SMALL_SLOT_BYTES,
    SMALL_SLOT_GAP_BYTES,
    TLS_CONNECTION_BYTES,
    WRITE_BUFFER_OVERHEAD,
    MemoryBounds,
    class_bytes,
)
from asyncrev.limit_checks import MOST_BYTES, MOST_C_INT, check_count, check_time

__all__ = [
    "FIXED_CONNECTION_BYTES",
    "FRAME_OVERHEAD_BYTES",
    "LEAST_BLOCK_BYTES",
    "LEAST_READ_BYTES",
    "MOST_C_INT",
    "REQUEST_BYTES",
    "SMALL_SLOT_BYTES",
    "SMALL_SLOT_GAP_BYTES",
    "TLS_CONNECTION_BYTES",
    "WRITE_BUFFER_OVERHEAD",
    "Limits",
    "class_bytes",
]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits(MemoryBounds):
    """Frozen settings of a bridge, its connections and its server.

    Counts and bytes are whole numbers, times seconds from 1 ms to 1e9 s.

    Attributes:
        slots: large chunks that the ring holds at once.
        slot_bytes: bytes of one slot, hence of the largest chunk. Bulk runs twice as fast with
            256 KiB as with 64 KiB, and a page of a slot takes memory only once it was used
            (docs/decisions/0003-slots.md).
        entries: chunks that the ring holds at once, small and large; default four times `slots`.
            Each has a small slot of 4 KiB of its own (docs/decisions/0009-small-slots.md).
        in_flight_entries: entries that one connection may have in the ring before its reading
            pauses, so that dribbled bytes cannot take every slot.
        in_flight_bytes: bytes that one connection may have in the ring before its reading pauses.
        high_water_bytes: unsent replies at which a connection's reading pauses
            (asyncio's own default, 64 KiB).
        low_water_bytes: unsent replies at which it resumes; default a quarter of the high
            water, as in asyncio.
        overflow_bytes: what a connection may read when the ring has no slot; it is kept aside
            until a slot is free.
        max_frame_bytes: payload of the longest frame, without its length prefix or line end
            (1 MiB, as in websockets and nginx); a longer one ends its connection.
        max_reply_bytes: longest reply to one chunk or frame, or of one call of a method for many
            frames, and to the end of input; a longer one ends its connection as an error of the
            processor. A reply that is no longer than what it answers is always allowed. By default
            `max_frame_bytes`; 0 for no bound, and then there is no bound of memory either.
        partial_frame_bytes: bytes of input that every framed connection may have in flight or keep
            of a partial frame, without a reservation in the buffer pool; so connections with frames
            up to about this size go on when the pool is used up. At least twice LEAST_READ_BYTES.
        pool_bytes: what all framed connections together may hold beyond that: unfinished
            frames, input on its way, and unsent replies above the high water (as large as
            the ring).
        pool_connection_bytes: the most of the pool that one connection may hold; default twice
            `least_pool_connection_bytes`, for the longest frame and as much again on its way.
        first_byte_timeout_s: seconds from its beginning in which a connection must send something.
            This and the next two may be `inf`, which switches them off.
        idle_timeout_s: seconds without any input after which a connection that is owed nothing and
            is not within a frame is closed (HAProxy's advice is minutes, nginx has 75 s).
        frame_timeout_s: seconds in which a frame must be complete, counted from its first
            byte whatever arrives meanwhile, so that a byte now and then keeps nothing open.
        pending_per_connection: requests of one connection to a processor whose replies come later
            (a coroutine, an executor) that may be without a reply before its reading pauses.
        pending_total: such requests of all connections that run at once; others wait for them.
        pending_total_bytes: what their input and replies may take before a connection that has one
            running, or a reply on its way, starts no other.
        processor_timeout_s: seconds in which a coroutine must answer; then its connection ends.
            `inf` for no limit.
        tls_handshake_timeout_s: seconds that a TLS handshake may take (asyncio's 60 s leave
            silent peers too many descriptors).
        tls_handshakes_in_flight: connections of a server that may be within their TLS handshake at
            once; further ones wait for a place from their first byte on, unread.
        max_connections: open connections at which a server stops accepting; the kernel's
            backlog holds the rest.
        max_connections_per_ip: open connections of one IPv4 address, or of the IPv6 addresses with
            the same first 64 bits, at which further ones are reset on their arrival; 0 for no
            limit. UNIX sockets are not limited.
        backlog: length of the kernel's accept queue (asyncio's default is 100; a storm of
            connections wants more).
        write_stall_timeout_s: seconds without any progress of unsent replies after which the
            connection is aborted (60 s is nginx's `send_timeout`).
        min_rate_bytes_per_s: how fast a peer must send a frame that it has begun, and take replies
            that wait for it, on the average of every 10 s; 0 for no limit.
        max_connection_age_s: seconds, plus or minus a tenth, after which a connection is drained:
            what has arrived is answered, then it is closed. `inf` for no limit.
        drain_timeout_s: seconds that a drain may take before what is left is aborted (users of
            such servers pick 3 to 30 s).
        linger_timeout_s: seconds that a drained connection waits for its peer to close, so
            that late input does not turn the last replies into a reset.
        accept_retry_s: pause of accepting after the process ran out of descriptors or memory
            (asyncio waits 1 s).
    """

    slots: int = 256
    slot_bytes: int = 256 * 1024
    entries: int = -1
    in_flight_entries: int = 32
    in_flight_bytes: int = 256 * 1024
    high_water_bytes: int = 64 * 1024
    low_water_bytes: int = -1
    overflow_bytes: int = 16 * 1024
    max_frame_bytes: int = 1024 * 1024
    max_reply_bytes: int = -1
    partial_frame_bytes: int = 4096
    pool_bytes: int = 64 * 1024 * 1024
    pool_connection_bytes: int = -1
    pending_per_connection: int = 32
    pending_total: int = 256
    pending_total_bytes: int = 16 * 1024 * 1024
    tls_handshakes_in_flight: int = 256
    max_connections: int = 1024
    max_connections_per_ip: int = 0
    backlog: int = 1024
    first_byte_timeout_s: float = 30.0
    idle_timeout_s: float = 300.0
    frame_timeout_s: float = 30.0
    processor_timeout_s: float = 30.0
    tls_handshake_timeout_s: float = 10.0
    write_stall_timeout_s: float = 60.0
    min_rate_bytes_per_s: int = 0
    max_connection_age_s: float = math.inf
    drain_timeout_s: float = 10.0
    linger_timeout_s: float = 1.0
    accept_retry_s: float = 0.5

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            SettingsError: names the setting, its value and what is allowed.
        """
        for name in (
            "slots",
            "slot_bytes",
            "in_flight_entries",
            "in_flight_bytes",
            "overflow_bytes",
            "pending_per_connection",
            "pending_total",
            "pending_total_bytes",
        ):
            check_count(self, name, 1)
        check_count(self, "max_frame_bytes", 1, most=MOST_BYTES)
        for name in ("tls_handshakes_in_flight", "max_connections", "backlog"):
            check_count(self, name, 1, most=MOST_C_INT)
        check_count(self, "max_connections_per_ip", 0, " (0: no limit)", most=MOST_C_INT)
        check_count(self, "min_rate_bytes_per_s", 0, " (0: no limit)", most=MOST_BYTES)
        if self.entries == -1:
            object.__setattr__(self, "entries", 4 * self.slots)
        check_count(self, "entries", self.slots, ", which is slots")
        if self.ring_bytes > sys.maxsize:
            raise SettingsError(
                f"a ring of {self.slots} slots of {self.slot_bytes} bytes and {self.entries} "
                f"entries takes {self.ring_bytes} bytes; it must be at most {sys.maxsize}"
            )
        check_count(self, "high_water_bytes", 0, most=MOST_BYTES)
        if self.max_reply_bytes == -1:
            object.__setattr__(self, "max_reply_bytes", self.max_frame_bytes)
        check_count(self, "max_reply_bytes", 0, ", or 0 for no bound")
        # Only now: derived defaults require validated values.
        if self.low_water_bytes == -1:
            object.__setattr__(self, "low_water_bytes", self.high_water_bytes // 4)
        if self.pool_connection_bytes == -1:
            object.__setattr__(self, "pool_connection_bytes", 2 * self.least_pool_connection_bytes)
        if not 0 <= self.low_water_bytes <= self.high_water_bytes:
            raise SettingsError(
                f"low_water_bytes is {self.low_water_bytes}; it must lie between 0 and "
                f"high_water_bytes, which is {self.high_water_bytes}"
            )
        check_count(self, "partial_frame_bytes", 2 * LEAST_READ_BYTES)
        check_count(
            self,
            "pool_connection_bytes",
            self.least_pool_connection_bytes,
            " for frames of max_frame_bytes",
        )
        check_count(
            self, "pool_bytes", self.pool_connection_bytes, ", which is pool_connection_bytes"
        )
        for name in (
            "write_stall_timeout_s",
            "drain_timeout_s",
            "linger_timeout_s",
            "accept_retry_s",
            "tls_handshake_timeout_s",
        ):
            check_time(self, name)
        for name in (
            "first_byte_timeout_s",
            "idle_timeout_s",
            "frame_timeout_s",
            "processor_timeout_s",
            "max_connection_age_s",
        ):
            check_time(self, name, or_never=True)

    @property
    def shortest_deadline_s(self) -> float:
        """The shortest of the deadlines that a sweep looks after."""
        return min(
            self.first_byte_timeout_s,
            self.idle_timeout_s,
            self.frame_timeout_s,
            self.write_stall_timeout_s,
            self.tls_handshake_timeout_s,
            self.max_connection_age_s,
        )

    def replace(self, **changes: int | float) -> "Limits":
        """Return a copy with `changes`, checked again; what follows from them is derived again."""
        if "slots" in changes and "entries" not in changes:
            changes["entries"] = -1
        if "high_water_bytes" in changes and "low_water_bytes" not in changes:
            changes["low_water_bytes"] = -1
        if "max_frame_bytes" in changes and "pool_connection_bytes" not in changes:
            changes["pool_connection_bytes"] = -1
        if "max_frame_bytes" in changes and "max_reply_bytes" not in changes:
            changes["max_reply_bytes"] = -1
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]
