"""A transport without a socket, whose kernel follows a script that the test advances.

For tests of protocols. Only what asyncio also does with `call_soon` happens later by itself: the
call of `connection_lost`, and the delivery of waiting input after `resume_reading`.
"""

import asyncio
import collections
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from asyncrev.buffers import byte_view

__all__ = ["Schedule", "ScriptedTransport", "Step", "split"]

# What the kernel takes of one send: None for everything, a number for at most that many bytes, 0
# for "would block", or an exception class that the send raises.
Step: TypeAlias = int | type[BaseException] | None
Schedule: TypeAlias = list[Step]

_DEFAULT_HIGH_BYTES = 64 * 1024  # as in asyncio


def split(data: bytes, lengths: Sequence[int]) -> list[bytes]:
    """Return `data` in pieces of `lengths`; the rest is the last piece.

    No piece is empty. Lengths beyond the end of `data` have no effect.
    """
    pieces, start_off = [], 0
    for nbytes in lengths:
        pieces.append(data[start_off : start_off + nbytes])
        start_off += nbytes
    pieces.append(data[start_off:])
    return [piece for piece in pieces if piece]


class ScriptedTransport(asyncio.Transport):
    """A connected transport of `protocol`; its kernel takes what `schedule` says.

    Attributes:
        sent: what the kernel has taken so far.
        eof_sent: whether the sending side was shut down, after all of `sent`.
        calls: names of the transport's methods that the protocol has called, and of the protocol's
            methods that the transport has called, in order. No name is in both sets.
        keeps_no_views: whether `BridgeProtocol` may write views of memory that it will reuse.

    All methods: the loop's thread. What a protocol raises propagates from the call that led to it.
    """

    def __init__(
        self,
        protocol: asyncio.BaseProtocol,
        schedule: Iterable[Step] = (),
        *,
        keeps_views: bool = False,
        extra: dict[str, Any] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Connect: `protocol.connection_made` has been called when this returns.

        Args:
            protocol: an `asyncio.Protocol` or an `asyncio.BufferedProtocol`.
            schedule: a step for each send: None takes everything, k takes at most k bytes, 0 would
                block, an exception class is raised. After the last step everything is taken. What a
                send did not take waits until `flush` is called.
            keeps_views: keep unsent data as views of the caller's memory, as asyncio does since
                3.12, which reveals a protocol that overwrites it. By default it is copied, as our
                own transport does.
            extra: the values for `get_extra_info`.
            loop: by default the running loop.
        """
        super().__init__(extra)
        self._loop = loop if loop is not None else asyncio.get_running_loop()
        self._steps = iter(schedule)
        self._keeps_views = keeps_views
        self.keeps_no_views = not keeps_views
        self._write_buffer: collections.deque[memoryview] = collections.deque()
        self._input: collections.deque[bytes | None] = collections.deque()  # None: end of input
        self._delivering = False
        self._reading_paused = False
        self._writing_paused = False
        self._eof_written = False
        self._closing = False
        self._lost = False
        self.sent = bytearray()
        self.eof_sent = False
        self.calls: list[str] = []
        self.set_write_buffer_limits()
        self._protocol: Any = protocol
        self._tell("connection_made", self)

    # -- called by the test --------------------------------------------------------------------

    def feed(self, *chunks: bytes) -> None:
        """Receive `chunks`, each in one receive, or in several if the protocol's buffer is short.

        Chunks that arrive while reading is paused wait, in order, until it is resumed. Chunks that
        arrive after `close` or `abort` are dropped, as by a closed socket.

        Raises:
            RuntimeError: `get_buffer` returned an empty buffer, with which asyncio ends the
                connection.
        """
        self._input.extend(bytes(chunk) for chunk in chunks if chunk)
        self._deliver()

    def feed_eof(self) -> None:
        """Receive the end of input, after what was fed before."""
        self._input.append(None)
        self._deliver()

    def flush(self, times: int | None = None) -> int:
        """Make the kernel writable `times` times, or until nothing is left; return the bytes left.

        Each time, the write buffer is sent once, which uses one step of the schedule.
        """
        while self._write_buffer and (times is None or times > 0):
            times = times - 1 if times is not None else None
            self._send_write_buffer()
        return self.get_write_buffer_size()

    def lose(self, error: Exception | None = None) -> None:
        """Lose the connection: `connection_lost(error)` is called soon, and only once."""
        self._closing = True
        self._write_buffer.clear()
        self._input.clear()
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._tell, "connection_lost", error)

    @property
    def is_lost(self) -> bool:
        """Whether `connection_lost` was called or is scheduled."""
        return self._lost

    # -- called by the protocol: reading ------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether input is delivered."""
        return not self._reading_paused and not self._closing

    def pause_reading(self) -> None:
        """Let input wait; idempotent."""
        self.calls.append("pause_reading")
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Deliver waiting input soon, and later input on arrival; idempotent."""
        self.calls.append("resume_reading")
        if self._reading_paused:
            self._reading_paused = False
            self._loop.call_soon(self._deliver)

    # -- called by the protocol: writing ------------------------------------------------------

    def write(self, data: Any) -> None:
        """Send what the kernel takes of `data`; keep the rest, or a copy of it.

        Raises:
            TypeError: `data` is not bytes-like.
            RuntimeError: after `write_eof`.
        """
        self.calls.append("write")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        self._write([data])

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send all buffers, in order, in one send.

        Raises:
            RuntimeError: after `write_eof`.
        """
        self.calls.append("writelines")
        self._write(list(list_of_data))

    def write_eof(self) -> None:
        """Shut down the sending side once the write buffer has been sent; idempotent."""
        self.calls.append("write_eof")
        if not self._closing and not self._eof_written:
            self._eof_written = True
            self._after_sending()

    def can_write_eof(self) -> bool:
        """Return True, unless `extra` has an "sslcontext": TLS has no half-close in asyncio."""
        return self.get_extra_info("sslcontext") is None

    def get_write_buffer_size(self) -> int:
        """Return the length of the write buffer in bytes."""
        return sum(view.nbytes for view in self._write_buffer)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the water marks of the write buffer; the defaults are asyncio's.

        Raises:
            ValueError: not `high >= low >= 0`.
        """
        if high is None:
            high = _DEFAULT_HIGH_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high_bytes, self._low_bytes = high, low
        if hasattr(self, "_protocol"):
            self._heed_water_marks()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high water mark, in this order."""
        return self._low_bytes, self._high_bytes

    # -- called by the protocol: life -----------------------------------------------------------

    def close(self) -> None:
        """Stop reading; call `connection_lost(None)` once `flush` has sent the write buffer."""
        self.calls.append("close")
        if not self._closing:
            self._closing = True
            self._input.clear()
            self._after_sending()

    def abort(self) -> None:
        """Drop the write buffer, and call `connection_lost(None)` soon."""
        self.calls.append("abort")
        self.lose(None)

    def is_closing(self) -> bool:
        """Return whether `close` or `abort` was called, or the connection was lost."""
        return self._closing

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Call `protocol` from now on."""
        self.calls.append("set_protocol")
        self._protocol = protocol

    # -- internals --------------------------------------------------------------------------------

    def _tell(self, name: str, *args: Any) -> Any:
        self.calls.append(name)
        return getattr(self._protocol, name)(*args)

    def _deliver(self) -> None:
        if self._delivering:
            return  # called within a delivery: the outer loop delivers it afterwards
        self._delivering = True
        try:
            while self._input and self.is_reading():
                chunk = self._input.popleft()
                if chunk is None:
                    if not self._tell("eof_received"):
                        self.close()
                elif isinstance(self._protocol, asyncio.BufferedProtocol):
                    self._deliver_into_buffer(chunk)
                else:
                    self._tell("data_received", chunk)
        finally:
            self._delivering = False

    def _deliver_into_buffer(self, chunk: bytes) -> None:
        buffer = memoryview(self._protocol.get_buffer(-1))
        if not buffer.nbytes:
            raise RuntimeError("get_buffer() returned an empty buffer")
        nbytes = min(buffer.nbytes, len(chunk))
        buffer[:nbytes] = chunk[:nbytes]
        del buffer  # a protocol may resize its memory in `buffer_updated`
        if nbytes < len(chunk):
            self._input.appendleft(chunk[nbytes:])
        self._tell("buffer_updated", nbytes)

    def _write(self, pieces: list[Any]) -> None:
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        waited = bool(self._write_buffer)
        views = [byte_view(piece) for piece in pieces if memoryview(piece).nbytes]
        if self._lost or not views:
            return
        self._write_buffer.extend(views)
        if not waited:
            self._send_write_buffer()
        if not self._keeps_views:
            for index, view in enumerate(self._write_buffer):
                if type(view.obj) is not bytes:
                    self._write_buffer[index] = memoryview(bytes(view))
        self._heed_water_marks()

    def _send_write_buffer(self) -> None:
        step = next(self._steps, None)
        if isinstance(step, type):
            if issubclass(step, (BlockingIOError, InterruptedError)):
                return
            error = step(f"{step.__name__} by the schedule")
            if not isinstance(error, Exception):
                raise error
            self.lose(error)
            return
        left = self.get_write_buffer_size() if step is None else step
        while left > 0 and self._write_buffer:
            view = self._write_buffer.popleft()
            self.sent += view[:left]
            if left < view.nbytes:
                self._write_buffer.appendleft(view[left:])
            left -= view.nbytes
        self._heed_water_marks()
        self._after_sending()

    def _after_sending(self) -> None:
        if self._write_buffer or self._lost:
            return
        if self._eof_written:
            self.eof_sent = True
        if self._closing:
            self.lose(None)

    def _heed_water_marks(self) -> None:
        write_buffer_bytes = self.get_write_buffer_size()
        if write_buffer_bytes > self._high_bytes and not self._writing_paused:
            self._writing_paused = True
            self._tell("pause_writing")
        elif write_buffer_bytes <= self._low_bytes and self._writing_paused and not self._lost:
            self._writing_paused = False
            self._tell("resume_writing")
