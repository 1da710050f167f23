"""Settings with their defaults, each with its unit, and the memory bound that follows.

A default gives its provenance: measured here (a page in docs/decisions/), or copied from whom.
"""

import dataclasses
import math
import sys

from asyncrev.errors import LocalError, SettingsError

__all__ = [
    "FIXED_CONNECTION_BYTES",
    "LEAST_BLOCK_BYTES",
    "LEAST_READ_BYTES",
    "MOST_C_INT",
    "SMALL_SLOT_BYTES",
    "SMALL_SLOT_GAP_BYTES",
    "TLS_CONNECTION_BYTES",
    "Limits",
    "class_bytes",
]

# What one open connection costs beside its buffers: transport, protocol, socket, lane and their
# entries in asyncio's tables. Measured 2.0 to 3.8 KB (docs/memory.md), and doubled.
FIXED_CONNECTION_BYTES = 8 * 1024

# What a connection over TLS costs besides: OpenSSL's state, and the memory of two BIOs, of which
# each keeps what a record took. Measured 20 KB after the handshake, 51 KB within it, 59 KB after
# records of 16 KiB (docs/memory.md).
TLS_CONNECTION_BYTES = 64 * 1024

# A bytearray that grows takes an eighth more than it holds (CPython, Objects/bytearrayobject.c).
WRITE_BUFFER_OVERHEAD = 1.125

# What every entry of a ring has for a small chunk; a slot's length, if that is less.
SMALL_SLOT_BYTES = 4096

# Between small slots, a line of the cache: at a stride of 4 KiB their first lines, all that most
# chunks use, would push each other out of it.
SMALL_SLOT_GAP_BYTES = 64

# What the kernel takes as a C int: the length of an accept queue (listen(2)), a descriptor.
MOST_C_INT = 2**31 - 1

# What fits a C size with room to double it and to add to it.
MOST_BYTES = sys.maxsize >> 3

# A shorter time than the first would have the sweep run all the time; the second is 31 years.
LEAST_TIME_S, MOST_TIME_S = 0.001, 1e9

# The smallest read that a framed connection is granted while the pool is used up.
LEAST_READ_BYTES = 512

# Of replies that are longer than their input, this much is made ahead of their delivery.
LEAST_WINDOW_BYTES = 4096

# The most that a frame has beside its payload: a len64 prefix, or "\r\n".
FRAME_OVERHEAD_BYTES = 8

# What the worker holds of one chunk while it works on it, in chunks: tiny frames with lengths that
# differ take 27 (docs/memory.md).
WORKING_FACTOR = 32

# The pool's classes: powers of two from here to the largest that a length can be.
LEAST_BLOCK_BYTES = 256
_MOST_BLOCK_BYTES = sys.maxsize // 2 + 1


def class_bytes(nbytes: int) -> int:
    """Return the smallest power of two that is at least `nbytes` and LEAST_BLOCK_BYTES.

    Thread: any.

    Raises:
        LocalError: no block can be that long; gives what is allowed.
    """
    if LEAST_BLOCK_BYTES < nbytes <= _MOST_BLOCK_BYTES:
        return 1 << (nbytes - 1).bit_length()
    if 0 <= nbytes <= LEAST_BLOCK_BYTES:
        return LEAST_BLOCK_BYTES
    raise LocalError(f"a block of {nbytes} bytes; it must have 0 to {_MOST_BLOCK_BYTES}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
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
        tls_handshake_timeout_s: seconds that a TLS handshake may take (asyncio's 60 s leave
            silent peers too many descriptors).
        tls_handshakes_in_flight: connections of a server that may be within their TLS handshake at
            once; further ones wait for a place from their first byte on, unread.
        max_connections: open connections at which a server stops accepting; the kernel's
            backlog holds the rest.
        backlog: length of the kernel's accept queue (asyncio's default is 100; a storm of
            connections wants more).
        write_stall_timeout_s: seconds without any progress of unsent replies after which the
            connection is aborted (60 s is nginx's `send_timeout`).
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
    tls_handshakes_in_flight: int = 256
    max_connections: int = 1024
    backlog: int = 1024
    first_byte_timeout_s: float = 30.0
    idle_timeout_s: float = 300.0
    frame_timeout_s: float = 30.0
    tls_handshake_timeout_s: float = 10.0
    write_stall_timeout_s: float = 60.0
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
        ):
            self._at_least(name, 1)
        self._at_least("max_frame_bytes", 1, most=MOST_BYTES)
        for name in ("tls_handshakes_in_flight", "max_connections", "backlog"):
            self._at_least(name, 1, most=MOST_C_INT)
        if self.entries == -1:
            object.__setattr__(self, "entries", 4 * self.slots)
        self._at_least("entries", self.slots, ", which is slots")
        if self.ring_bytes > sys.maxsize:
            raise SettingsError(
                f"a ring of {self.slots} slots of {self.slot_bytes} bytes and {self.entries} "
                f"entries takes {self.ring_bytes} bytes; it must be at most {sys.maxsize}"
            )
        self._at_least("high_water_bytes", 0, most=MOST_BYTES)
        if self.max_reply_bytes == -1:
            object.__setattr__(self, "max_reply_bytes", self.max_frame_bytes)
        self._at_least("max_reply_bytes", 0, ", or 0 for no bound")
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
        self._at_least("partial_frame_bytes", 2 * LEAST_READ_BYTES)
        self._at_least(
            "pool_connection_bytes",
            self.least_pool_connection_bytes,
            " for frames of max_frame_bytes",
        )
        self._at_least("pool_bytes", self.pool_connection_bytes, ", which is pool_connection_bytes")
        for name in (
            "write_stall_timeout_s",
            "drain_timeout_s",
            "linger_timeout_s",
            "accept_retry_s",
            "tls_handshake_timeout_s",
        ):
            self._time(name)
        for name in ("first_byte_timeout_s", "idle_timeout_s", "frame_timeout_s"):
            self._time(name, or_never=True)

    def _at_least(self, name: str, least: int, why: str = "", most: int = sys.maxsize) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise SettingsError(f"{name} is {value!r}; it must be a whole number >= {least}{why}")
        if value > most:
            raise SettingsError(f"{name} is {value}; it must be at most {most}")

    def _time(self, name: str, *, or_never: bool = False) -> None:
        value = getattr(self, name)
        is_number = isinstance(value, (int, float))
        if is_number and (LEAST_TIME_S <= value <= MOST_TIME_S or (or_never and value == math.inf)):
            return
        raise SettingsError(
            f"{name} is {value!r}; it must be a number of seconds from {LEAST_TIME_S:g} to "
            f"{MOST_TIME_S:g}{', or inf for never' if or_never else ''}"
        )

    @property
    def ring_bytes(self) -> int:
        """Bytes of all slots and small slots."""
        small_slot_bytes = min(SMALL_SLOT_BYTES, self.slot_bytes)
        small_bytes = self.entries * (small_slot_bytes + SMALL_SLOT_GAP_BYTES)
        return self.slots * self.slot_bytes + small_bytes

    @property
    def unsent_bytes(self) -> int:
        """The most unsent replies of one connection, as reading stops at the high water.

        What is in flight then (up to `in_flight_bytes`, and one more chunk) is added to them.
        Holds for processors whose reply is no longer than its chunk; so do the bounds below. For
        others `amplified_bytes` is added for each connection.
        """
        return self.high_water_bytes + self.in_flight_bytes + self.slot_bytes

    @property
    def window_bytes(self) -> int:
        """Surplus of a connection's replies, beyond its input, at which the worker defers it."""
        return max(self.high_water_bytes, LEAST_WINDOW_BYTES)

    @property
    def amplified_bytes(self) -> int:
        """What a connection can hold besides if replies may be longer than what they answer.

        A window of surplus and one reply; 0 without a bound. They count twice, because allocators
        keep what held a reply in the ring, for that thread, while it is in the write buffer.
        """
        if not self.max_reply_bytes:
            return 0
        return int((self.window_bytes + self.max_reply_bytes) * (1 + WRITE_BUFFER_OVERHEAD))

    @property
    def bridge_bytes(self) -> int:
        """What a bridge with raw connections holds beside them, its ring and overflow buffer."""
        return self.ring_bytes + self.overflow_bytes

    @property
    def connection_bytes(self) -> int:
        """The most that one connection can make this process hold outside the ring."""
        return (
            int(self.unsent_bytes * WRITE_BUFFER_OVERHEAD)
            + self.overflow_bytes
            + FIXED_CONNECTION_BYTES
        )

    @property
    def memory_bound_bytes(self) -> int:
        """The most that connections make this process hold beyond what it has when idle.

        One bridge, `max_connections` worst connections, and one backlog that is being moved to a
        larger block. A server with more bridges adds `bridge_bytes` for each.
        """
        return self.bridge_bytes + self.max_connections * self.connection_bytes + self.unsent_bytes

    @property
    def shortest_deadline_s(self) -> float:
        """The shortest of the deadlines that a sweep looks after."""
        return min(
            self.first_byte_timeout_s,
            self.idle_timeout_s,
            self.frame_timeout_s,
            self.write_stall_timeout_s,
            self.tls_handshake_timeout_s,
        )

    # -- framed connections -----------------------------------------------------------------

    @property
    def least_pool_connection_bytes(self) -> int:
        """What a connection needs for the longest frame, a power of two like all blocks."""
        most_bytes = self.max_frame_bytes + FRAME_OVERHEAD_BYTES + LEAST_READ_BYTES
        return 1 << (most_bytes - 1).bit_length()

    @property
    def framed_connection_bytes(self) -> int:
        """The most that one framed connection can make this process hold outside ring and pool."""
        write_buffer_bytes = self.high_water_bytes + self.partial_frame_bytes
        return (
            int(write_buffer_bytes * WRITE_BUFFER_OVERHEAD)
            + self.partial_frame_bytes
            + FIXED_CONNECTION_BYTES
        )

    @property
    def framed_bridge_bytes(self) -> int:
        """What a bridge with framed connections holds beside them.

        The ring; the pool twice, because it keeps the blocks of frames whose replies have become
        backlogs, and these may exceed it by an eighth (I14); a block that is being moved to a
        larger one; the overflow buffer; the worker's objects for one chunk.
        """
        return (
            self.ring_bytes
            + self.pool_bytes
            + int(self.pool_bytes * WRITE_BUFFER_OVERHEAD)
            + self.pool_connection_bytes
            + self.overflow_bytes
            + WORKING_FACTOR * self.slot_bytes
        )

    @property
    def framed_memory_bound_bytes(self) -> int:
        """The most that framed connections make this process hold beyond what it has when idle.

        One bridge, `max_connections` worst connections, and one backlog that is being moved to a
        larger block.
        """
        return (
            self.framed_bridge_bytes
            + self.max_connections * self.framed_connection_bytes
            + self.high_water_bytes
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
