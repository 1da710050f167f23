"""The buffer pool: blocks in which the worker assembles frames that span chunks.

Theory of operation. A block is in one of three states. *Leased*: code on the worker's thread writes
into it. *Lent*: the result of an entry is a view of it, so the loop reads it until it has released
that entry; only then can the block be claimed back. *Kept*: given back, and ready for the next
lease of its class, so that nothing is allocated in steady state.

  I18  a lent block is not used again before the entry whose reply is in it has been released

The loop decides how much may be leased, before it receives bytes. So the pool refuses no lease, and
only limits what it keeps: blocks in use and kept together have at most `most_bytes`.
"""

import mmap
from collections import defaultdict, deque
from typing import Protocol

from asyncrev.errors import LocalError, SettingsError
from asyncrev.limits import class_bytes

__all__ = ["Block", "Cursors", "Pool"]

# From this length on a block is a separate mapping. The allocator may keep memory that is freed,
# and a bytearray is zeroed, and thus resident, at once. A mapping has pages only where it was
# written, and all of them return to the system when it is dropped.
_MAPPED_FROM_BYTES = 64 * 1024


class Cursors(Protocol):
    """The cursors of the ring that the pool reads."""

    processed_seq: int  # while the worker processes an entry, its sequence number
    released_seq: int  # the loop has finished with the results of all entries below


class Block:
    """A block of the pool's memory.

    Attributes:
        storage: the object that `view` is a view of.
        view: the whole block: writable, contiguous, format "B". It contains old bytes, of other
            connections, too. Valid until the block is given back, or its entry is released if it
            is lent.
        nbytes: the length, a power of two.
        leased: whether it is neither lent nor given back. Written by the pool.
        lent_seq: if lent, the sequence number of the entry whose result is a view of it. Written by
            the pool.
    """

    __slots__ = ("leased", "lent_seq", "nbytes", "storage", "view")

    def __init__(self, nbytes: int) -> None:
        self.storage: mmap.mmap | bytearray
        if nbytes >= _MAPPED_FROM_BYTES:
            # Private, so that a forked child does not write into the same block.
            self.storage = mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        else:
            self.storage = bytearray(nbytes)
        self.view = memoryview(self.storage)
        self.nbytes = nbytes
        self.leased = False
        self.lent_seq = 0


class Pool:
    """Blocks in power-of-two classes. Thread: worker; any thread may read the counters.

    Attributes:
        in_use_bytes: in leased and lent blocks.
        in_use_high_bytes: the maximum of `in_use_bytes` so far.
        kept_bytes: in blocks given back and ready for reuse. With `in_use_bytes` at most
            `most_bytes`; if as much is in use, nothing is kept.
        lent_bytes: in blocks lent and not yet claimed back; a part of `in_use_bytes`.
        allocations: how many blocks were made.
        leases: how many blocks were leased, including those that `grow` needed.
        reclaimed: how many lent blocks were claimed back.
        steps: in [0] a number that changes with each call of a processor for one of several frames
            or TLS records of an entry, so that it can be seen whether the worker moves within one.
            Writers: what works on the entry; readers: any, a stale value is seen a second later.
    """

    __slots__ = (
        "_cursors",
        "_kept",
        "_lent",
        "_most_bytes",
        "allocations",
        "in_use_bytes",
        "in_use_high_bytes",
        "kept_bytes",
        "leases",
        "lent_bytes",
        "reclaimed",
        "steps",
    )

    def __init__(self, cursors: Cursors, most_bytes: int) -> None:
        """Start empty.

        Raises:
            SettingsError: `most_bytes` is below 0.
        """
        if most_bytes < 0:
            raise SettingsError(f"most_bytes of a pool is {most_bytes}; it must be >= 0")
        self._cursors = cursors
        self._most_bytes = most_bytes
        # By class; the block given back last is at the right end.
        self._kept: defaultdict[int, deque[Block]] = defaultdict(deque)
        self._lent: deque[Block] = deque()  # in the order of their entries
        self.in_use_bytes = 0
        self.in_use_high_bytes = 0
        self.kept_bytes = 0
        self.lent_bytes = 0
        self.allocations = 0
        self.leases = 0
        self.reclaimed = 0
        self.steps = [0]

    def lease(self, nbytes: int) -> Block:
        """Return a block of `class_bytes(nbytes)`, to be given back or lent once.

        Thread: worker. The block given back last is reused first: its memory is still in the cache.

        Raises:
            LocalError: no block can be that long; the message has the allowed lengths.
            MemoryError, OSError: the system has no memory for a new block; nothing is leased.
        """
        block_bytes = class_bytes(nbytes)
        kept = self._kept[block_bytes]
        if not kept:
            self.reclaim()
        if kept:
            block = kept.pop()
            self.kept_bytes -= block_bytes
        else:
            self._make_room(block_bytes)
            block = Block(block_bytes)
            self.allocations += 1
        block.leased = True
        self.leases += 1
        self.in_use_bytes += block_bytes
        if self.in_use_bytes > self.in_use_high_bytes:
            self.in_use_high_bytes = self.in_use_bytes
        return block

    def grow(self, block: Block, held_bytes: int, nbytes: int) -> Block:
        """Return a block for `nbytes` bytes that begins with the first `held_bytes` of `block`.

        Thread: worker. This is `block` itself if it is long enough; otherwise `block` is given back
        and its view becomes invalid. Both are in use while bytes are copied.

        Raises:
            LocalError: `block` is not leased or is shorter than `held_bytes`, or no block can have
                `nbytes`; `block` is unchanged.
            MemoryError, OSError: as for `lease`; `block` stays leased.
        """
        if not block.leased:
            raise LocalError(f"grow of a block of {block.nbytes} bytes that is not leased")
        if not 0 <= held_bytes <= block.nbytes:
            raise LocalError(f"grow with {held_bytes} bytes held; the block has {block.nbytes}")
        if 0 <= nbytes <= block.nbytes:
            return block
        larger = self.lease(nbytes)
        larger.view[:held_bytes] = block.view[:held_bytes]
        self.give_back(block)
        return larger

    def give_back(self, block: Block) -> None:
        """Take a leased block back. Its view is invalid from here on.

        Thread: worker.

        Raises:
            LocalError: it is not leased: lent, or given back before.
        """
        if not block.leased:
            raise LocalError(f"give_back of a block of {block.nbytes} bytes that is not leased")
        block.leased = False
        self._keep(block)

    def lend(self, block: Block) -> None:
        """Let the loop read a leased block until it releases the present entry.

        Thread: worker, while it processes the entry whose result is a view of `block`.

        Raises:
            LocalError: it is not leased: lent, or given back before.
        """
        if not block.leased:
            raise LocalError(f"lend of a block of {block.nbytes} bytes that is not leased")
        block.leased = False
        block.lent_seq = self._cursors.processed_seq
        self._lent.append(block)
        self.lent_bytes += block.nbytes

    def reclaim(self) -> None:
        """Take back every lent block whose entry has been released.

        Thread: worker, before each batch. Cheap when nothing is lent.
        """
        lent = self._lent
        if not lent:
            return
        # ORDER: the loop drops an entry's result before the store that this load sees (I18).
        released_seq = self._cursors.released_seq
        while lent and lent[0].lent_seq < released_seq:
            block = lent.popleft()
            self.lent_bytes -= block.nbytes
            self.reclaimed += 1
            self._keep(block)

    def _keep(self, block: Block) -> None:
        """Keep a block that is no longer in use, or drop it if too much is held."""
        held_bytes = self.in_use_bytes + self.kept_bytes
        self.in_use_bytes -= block.nbytes
        if held_bytes <= self._most_bytes:
            self.kept_bytes += block.nbytes
            self._kept[block.nbytes].append(block)

    def _make_room(self, block_bytes: int) -> None:
        """Drop kept blocks, largest first, until a new one of `block_bytes` fits."""
        over_bytes = self.in_use_bytes + self.kept_bytes + block_bytes - self._most_bytes
        for kept_block_bytes in sorted(self._kept, reverse=True):
            kept = self._kept[kept_block_bytes]
            while kept and over_bytes > 0:
                kept.popleft()  # the least recently used one
                self.kept_bytes -= kept_block_bytes
                over_bytes -= kept_block_bytes
