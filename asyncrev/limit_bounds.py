"""The bounds of memory that follow from limits, and what they are made of."""

import sys

from asyncrev.errors import LocalError

__all__ = [
    "FIXED_CONNECTION_BYTES",
    "FRAME_OVERHEAD_BYTES",
    "LEAST_BLOCK_BYTES",
    "LEAST_READ_BYTES",
    "REQUEST_BYTES",
    "SMALL_SLOT_BYTES",
    "SMALL_SLOT_GAP_BYTES",
    "TLS_CONNECTION_BYTES",
    "WRITE_BUFFER_OVERHEAD",
    "MemoryBounds",
    "class_bytes",
]

# What one open connection costs beside its buffers: transport, protocol, socket, lane and their
# entries in asyncio's tables. Measured 2.0 to 3.8 KB (docs/memory.md), and doubled.
FIXED_CONNECTION_BYTES = 8 * 1024

# What a connection over TLS costs besides: OpenSSL's state, and the memory of two BIOs, of which
# each keeps what a record took. Measured 20 KB after the handshake, 51 KB within it, 59 KB after
# records of 16 KiB (docs/memory.md).
TLS_CONNECTION_BYTES = 64 * 1024

# What a request whose reply comes later costs beside its payload and reply; and one that runs, the
# task of a light coroutine included. Measured 2.4 KB for one that runs (docs/memory.md).
REQUEST_BYTES = 512
RUNNING_REQUEST_BYTES = 4096

# A bytearray that grows takes an eighth more than it holds (CPython, Objects/bytearrayobject.c).
WRITE_BUFFER_OVERHEAD = 1.125

# What every entry of a ring has for a small chunk; a slot's length, if that is less.
SMALL_SLOT_BYTES = 4096

# Between small slots, a line of the cache: at a stride of 4 KiB their first lines, all that most
# chunks use, would push each other out of it.
SMALL_SLOT_GAP_BYTES = 64

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


class MemoryBounds:
    """What `Limits` bound, in bytes. Thread: any; nothing changes.

    A part of `Limits`, which has the fields.
    """

    __slots__ = ()

    # Fields of `Limits`.
    slots: int
    slot_bytes: int
    entries: int
    in_flight_bytes: int
    high_water_bytes: int
    overflow_bytes: int
    max_frame_bytes: int
    max_reply_bytes: int
    partial_frame_bytes: int
    pool_bytes: int
    pool_connection_bytes: int
    max_connections: int
    pending_per_connection: int
    pending_total: int
    pending_total_bytes: int

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
    def pending_bytes(self) -> int:
        """What started requests of all connections hold of input, and of replies not given out.

        Those that run when `pending_total_bytes` is reached still come to their replies.
        """
        input_bytes = max(self.max_frame_bytes, self.slot_bytes)
        running_bytes = input_bytes + (self.max_reply_bytes or input_bytes)
        running_bytes += RUNNING_REQUEST_BYTES
        return self.pending_total_bytes + self.pending_total * running_bytes

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
