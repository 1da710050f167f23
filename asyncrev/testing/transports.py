"""A transport without a socket: its kernel follows a script, and the test says when it goes on.

For tests of protocols. Nothing happens behind the test's back but what asyncio does by
`call_soon` as well: `connection_lost`, and the input that waits after `resume_reading`.
"""

import asyncio
import collections
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from asyncrev.buffers import byte_view

__all__ = ["Schedule", "ScriptedTransport", "Step", "split"]

# What the kernel takes of one send: None for all, a number of bytes at most, 0 for "would block",
# or the class of what the send raises.
Step: TypeAlias = int | type[BaseException] | None
Schedule: TypeAlias = list[Step]

_DEFAULT_HIGH_BYTES = 64 * 1024  # asyncio's own


def split(data: bytes, lengths: Sequence[int]) -> list[bytes]:
    """Return `data` in pieces of `lengths`; what they do not cover is the last piece.

    No piece is empty. Lengths that go beyond the end of `data` are of no effect.
    """
    pieces, start_off = [], 0
    for nbytes in lengths:
        pieces.append(data[start_off : start_off + nbytes])
        start_off += nbytes
    pieces.append(data[start_off:])
    return [piece for piece in pieces if piece]


class ScriptedTransport(asyncio.Transport):
    """A connected transport of `protocol`, whose kernel takes what `schedule` says.

    Attributes:
        sent: what the kernel has taken so far.
        eof_sent: whether the sending side was shut, behind all of `sent`.
        calls: what the protocol has called here, and what was called of the protocol, by name and
            in order. The names of the two do not overlap.
        keeps_no_views: tells `BridgeProtocol` that it may write views of memory it will reuse.

    All methods: the loop's thread. What a protocol raises comes out of the call that led to it.
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
            schedule: a step for each send: None takes all, k takes at most k bytes, 0 would block,
                an exception class is raised. Behind its last step all is taken. After a send that
                did not take all, the rest waits until `flush` is called.
            keeps_views: keep what could not be sent as views of the caller's memory, as asyncio
                does since 3.12; a protocol that writes over it is found out. By default it is
                copied, as our own transport does.
            extra: what `get_extra_info` tells.
            loop: by default the running one.
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

    # -- what the test does --------------------------------------------------------------------

    def feed(self, *chunks: bytes) -> None:
        """Let `chunks` arrive, each by one receive, or by more if the protocol's buffer is short.

        What arrives while reading is paused waits, in order, until it is resumed. What arrives
        after `close` or `abort` is dropped, as a closed socket does.

        Raises:
            RuntimeError: `get_buffer` returned an empty buffer, which ends a connection of asyncio.
        """
        self._input.extend(bytes(chunk) for chunk in chunks if chunk)
        self._deliver()

    def feed_eof(self) -> None:
        """Let the end of input arrive, behind what was fed before."""
        self._input.append(None)
        self._deliver()

    def flush(self, times: int | None = None) -> int:
        """Make the kernel writable `times` times, or until nothing is left; return what is left.

        Each time is one send of the write buffer, hence one step of the schedule.
        """
        while self._write_buffer and (times is None or times > 0):
            times = times - 1 if times is not None else None
            self._send_write_buffer()
        return self.get_write_buffer_size()

    def lose(self, error: Exception | None = None) -> None:
        """Let the connection get lost: `connection_lost(error)` comes soon, and only once."""
        self._closing = True
        self._write_buffer.clear()
        self._input.clear()
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._tell, "connection_lost", error)

    @property
    def is_lost(self) -> bool:
        """Whether `connection_lost` was called, or is about to be."""
        return self._lost

    # -- what the protocol calls: reading ------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether input is delivered."""
        return not self._reading_paused and not self._closing

    def pause_reading(self) -> None:
        """Let input wait. Twice is once."""
        self.calls.append("pause_reading")
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Deliver what waits, soon, and what comes. Twice is once."""
        self.calls.append("resume_reading")
        if self._reading_paused:
            self._reading_paused = False
            self._loop.call_soon(self._deliver)

    # -- what the protocol calls: writing ------------------------------------------------------

    def write(self, data: Any) -> None:
        """Send `data`, as far as the kernel takes it; keep the rest, or a copy of it.

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
        """Send all the buffers, in order, as one send.

        Raises:
            RuntimeError: after `write_eof`.
        """
        self.calls.append("writelines")
        self._write(list(list_of_data))

    def write_eof(self) -> None:
        """Shut the sending side once the write buffer has gone out. Twice is once."""
        self.calls.append("write_eof")
        if not self._closing and not self._eof_written:
            self._eof_written = True
            self._after_sending()

    def can_write_eof(self) -> bool:
        """Return True, unless `extra` has an "sslcontext": TLS has no half-close in asyncio."""
        return self.get_extra_info("sslcontext") is None

    def get_write_buffer_size(self) -> int:
        """Return the bytes of the write buffer."""
        return sum(view.nbytes for view in self._write_buffer)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the water marks of the write buffer, with asyncio's defaults.

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
        """Return low and high water, in this order."""
        return self._low_bytes, self._high_bytes

    # -- what the protocol calls: life -----------------------------------------------------------

    def close(self) -> None:
        """Read no more; `connection_lost(None)` comes once `flush` has sent the write buffer."""
        self.calls.append("close")
        if not self._closing:
            self._closing = True
            self._input.clear()
            self._after_sending()

    def abort(self) -> None:
        """Drop the write buffer; `connection_lost(None)` comes soon."""
        self.calls.append("abort")
        self.lose(None)

    def is_closing(self) -> bool:
        """Return whether `close` or `abort` was called, or the connection got lost."""
        return self._closing

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who is called."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Call `protocol` from here on."""
        self.calls.append("set_protocol")
        self._protocol = protocol

    # -- how it is done ----------------------------------------------------------------------------

    def _tell(self, name: str, *args: Any) -> Any:
        self.calls.append(name)
        return getattr(self._protocol, name)(*args)

    def _deliver(self) -> None:
        if self._delivering:
            return  # what the protocol fed itself comes behind what it is being told of
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
