"""A channel: the ring as a bounded, ordered queue of buffers between a loop and a thread.

    channel = Channel(slots=64)
    await channel.loop_side.put(b"...")          # on the loop; waits while the ring is full
    buffer = channel.thread_side.get()           # on one thread; blocks
    channel.thread_side.put(bytes(buffer)[::-1]) # answers, in order
    reply = await channel.loop_side.get()        # on the loop; frees the slot

A slot is in use from `put` until the `get` of its answer, so both directions are bounded: a loop
that does not get its replies cannot put any more once the slots are used up.
"""

import asyncio
from typing import Self

from asyncrev.buffers import byte_view
from asyncrev.errors import ChannelClosed, LocalError
from asyncrev.ring.loop_side import LoopSide
from asyncrev.ring.planes import Parker, Ring
from asyncrev.ring.ring import DATA
from asyncrev.ring.thread_side import ThreadSide

__all__ = ["AwaitableSide", "Channel"]


class Channel:
    """A ring with its two sides. It can be created without a running loop.

    `async with` on its loop closes both sides at the end of the block, even after an exception, so
    neither the thread nor a coroutine waits in vain. It does not wait for the thread, whose next
    `put` raises ChannelClosed; so does `get` once everything was got.

    Attributes:
        loop_side: for coroutines of one loop, the first that uses it.
        thread_side: for one thread.
    """

    def __init__(self, slots: int = 256, slot_bytes: int = 64 * 1024) -> None:
        """Allocate `slots` slots of `slot_bytes` bytes each.

        Raises:
            SettingsError: one of them is below 1.
        """
        ring, parker = Ring(slots, slot_bytes), Parker()
        side = LoopSide(ring, parker)
        self.loop_side = AwaitableSide(ring, side)
        self.thread_side = ThreadSide(ring, parker, side.signal)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.thread_side.close()  # ORDER: first, so that the loop's side ends for good
        self.loop_side.close()
        self.loop_side._let_go()


class AwaitableSide:
    """The loop's side of a channel. All methods: the loop's thread.

    Any number of coroutines may put and get; they are served in FIFO order. Cancelling a waiting
    one loses nothing, because a buffer moves only after the wait.
    """

    def __init__(self, ring: Ring, side: LoopSide) -> None:
        self._ring = ring
        self._side = side
        self._loop: asyncio.AbstractEventLoop | None = None
        self._put_lock = asyncio.Lock()
        self._get_lock = asyncio.Lock()
        # What the coroutine that holds the lock waits for.
        self._can_put = asyncio.Event()
        self._can_get = asyncio.Event()

    async def put(self, data: bytes | bytearray | memoryview) -> None:
        """Copy `data` into the next slot; wait while every slot is in use.

        Raises:
            LocalError: `data` is longer than a slot; the message has both numbers.
            ChannelClosed: `close` was called on either side.
        """
        view = byte_view(data)
        ring = self._ring
        if view.nbytes > ring.slot_bytes:
            raise LocalError(
                f"put of {view.nbytes} bytes; a slot has {ring.slot_bytes}: split it, or make the "
                "channel with larger slots"
            )
        self._bind()
        async with self._put_lock:
            while True:
                if ring.input_closed or ring.output_closed:
                    raise ChannelClosed("put on a closed channel")
                slot = ring.try_claim(small=view.nbytes <= ring.small_slot_bytes)
                if slot is not None:
                    break
                self._can_put.clear()
                await self._can_put.wait()
            slot[: view.nbytes] = view
            ring.publish(self, DATA, slot, view.nbytes)
            self._side.flush_soon()

    async def get(self) -> bytes:
        """Return the next answer, in the order of the `put` calls, and free its slot.

        If the thread answered None, b"" is returned.

        Raises:
            ChannelClosed: no other answer will come, because the thread's side is closed, or this
                side is closed and everything is answered.
        """
        self._bind()
        ring = self._ring
        async with self._get_lock:
            while not (over := self._let_go_if_over()) and ring.processed_seq == ring.released_seq:
                self._can_get.clear()
                await self._can_get.wait()
            if over:
                raise ChannelClosed("the channel is closed and everything was got")
            result = ring.result(ring.released_seq)
            assert not isinstance(result, tuple)  # only a framer answers in pieces
            answer = b"" if result is None else bytes(result)
            ring.release(1)
            self._can_put.set()
            self._let_go_if_over()
            return answer

    def close(self) -> None:
        """Close this side: nothing can be put any more; the thread still gets what was put."""
        self._bind()
        self._side.close()
        self._can_put.set()
        self._can_get.set()
        self._let_go_if_over()

    def _on_results(self) -> bool:
        self._can_get.set()
        if self._ring.output_closed:
            self._can_put.set()
        return False  # what is left waits for a `get`, not for the next iteration

    def _let_go_if_over(self) -> bool:
        """Release the loop once no more answers will come; return whether that is the case."""
        ring = self._ring
        closed = ring.output_closed  # ORDER: first, because the thread closes after its last answer
        if ring.processed_seq != ring.released_seq:
            return False
        if not closed and not (ring.input_closed and ring.released_seq == ring.published_seq):
            return False
        self._let_go()
        return True

    def _let_go(self) -> None:
        self._side.flush()
        self._side.unbind()

    def _bind(self) -> None:
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
            self._side.bind(running, self._on_results)
        elif self._loop is not running:
            raise LocalError("this side of the channel belongs to another event loop")
