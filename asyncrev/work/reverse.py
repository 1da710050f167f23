"""The reference processor: it reverses the bytes of a chunk.

Native kernels do the work if there are any. Otherwise large chunks are reversed by `reverse_numpy`,
which imports NumPy; the first `Reverse()` imports that module, so that programs with other
processors never load NumPy.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

from asyncrev.frames.grammar import Run
from asyncrev.frames.lines import newline_off
from asyncrev.native.choice import KERNELS
from asyncrev.native.kernels import Kernels

__all__ = ["NUMPY_FROM_BYTES", "Reverse", "reverses"]

# Below this a slice is faster; at it both take 2.6 us (docs/decisions/0005-reverse-kernel.md).
NUMPY_FROM_BYTES = 4096

# From this many equal frames on NumPy beats a slice for each: 4 of 64 bytes take 1.1 us either way.
_ROWS_FROM_FRAMES = 4

# Mean length of lines up to which \r\n is searched for as a whole.
_SPLIT_TO_BYTES = 64

# Bytes of lines that are processed at once; the longest payload of frames that are reversed
# together.
_BATCH_BYTES = 64 * 1024

_CR = 13


def _reversed_lines(lines: memoryview, reverse_in_place: Callable[[memoryview], None]) -> bytes:
    """Return whole lines with each payload reversed; `lines` may be changed."""
    if len(lines) < NUMPY_FROM_BYTES:
        text = lines.tobytes()[::-1]
    else:
        reverse_in_place(lines)
        text = lines.tobytes()
    # Everything is reversed now: each line begins with its end, and the last line comes first. So
    # the parts are the payloads in reverse order, after one empty part.
    parts = text.split(b"\n")
    if b"\r" in text:
        # If all line ends are \r\n, a split on both bytes leaves no work per line, but searches
        # slowly: lines of 16 bytes take 71 ns instead of 103, those of 256 bytes 415 ns instead of
        # 244.
        if len(text) < _SPLIT_TO_BYTES * len(parts):
            crlf_parts = text.split(b"\n\r")
            if len(crlf_parts) == len(parts):
                crlf_parts.reverse()
                return b"\r\n".join(crlf_parts)
        parts = [part[1:] + b"\r" if part and part[0] == _CR else part for part in parts]
    parts.reverse()
    return b"\n".join(parts)


class Reverse:
    """Processor that answers every chunk with its bytes in reverse order.

    Attributes:
        shares_core: read by `asyncrev serve --cpu auto`: this work is so light that handing it to
            another core costs more than it saves.
        replies_fit, keeps_line_ends: see `Processor`.
    """

    shares_core = True
    replies_fit = True
    keeps_line_ends = True

    __slots__ = ("__dict__", "_in_place", "_run")

    _kernels: ClassVar[Kernels | None] = KERNELS

    def __init__(self) -> None:
        """Bind the functions that reverse. Thread: any.

        Without native kernels the first instance imports NumPy.

        Raises:
            ModuleNotFoundError: NumPy is not installed, and there are no native kernels.
        """
        if self._kernels is not None:
            self._in_place: Callable[[memoryview], None] = self._kernels.reverse
            return
        from asyncrev.work.reverse_numpy import reverse_in_place, reverse_run

        self._in_place = reverse_in_place
        self._run = reverse_run

    def process(self, chunk: memoryview) -> memoryview | bytes:
        """Return the reversed chunk: a large one in place, a small one as new bytes."""
        if chunk.nbytes < NUMPY_FROM_BYTES:
            if self._kernels is not None:
                return self._kernels.reversed_bytes(chunk)
            return chunk.tobytes()[::-1]
        self._in_place(chunk)
        return chunk

    def process_lines(self, lines: memoryview) -> memoryview | bytes:
        r"""Return whole lines with each payload reversed, and the line ends as they were.

        Thread: worker. `lines`: like a chunk of `process`; ends in "\n". With native kernels, or if
        a line is large, or all lines are more than 64 KiB, `lines` is changed in place and
        returned; otherwise new bytes are returned, and the content of `lines` is undefined.
        """
        if self._kernels is not None:
            self._kernels.reverse_lines(lines)
            return lines
        off = done_off = 0
        while len(lines) - off > NUMPY_FROM_BYTES:
            ahead = lines[off : off + NUMPY_FROM_BYTES].tobytes()
            short_bytes = ahead.rfind(b"\n") + 1
            off += short_bytes
            # Bounded, because each line becomes an object: many megabytes in all for tiny lines.
            if off - done_off > _BATCH_BYTES or not short_bytes:
                lines[done_off:off] = _reversed_lines(lines[done_off:off], self._in_place)
                done_off = off
            if not short_bytes:
                end_off = newline_off(lines, off + NUMPY_FROM_BYTES)
                payload_end_off = end_off - (lines[end_off - 1] == _CR)
                self._in_place(lines[off:payload_end_off])
                off = done_off = end_off + 1
        if not done_off:
            return _reversed_lines(lines, self._in_place)
        lines[done_off:] = _reversed_lines(lines[done_off:], self._in_place)
        return lines

    def process_prefixed(
        self, frames: memoryview, runs: Sequence[Run], prefix_bytes: int
    ) -> memoryview:
        """Return `frames`, with the payloads of all `runs` reversed in place.

        Thread: worker. `frames`: like a chunk of `process`; whole frames, including prefixes.
        """
        if self._kernels is not None:
            self._kernels.reverse_runs(frames, runs, prefix_bytes)
            return frames
        for run in runs:
            start_off, payload_bytes, count = run
            if payload_bytes < 2:
                continue
            if count >= _ROWS_FROM_FRAMES and payload_bytes <= _BATCH_BYTES:
                self._run(frames, run, prefix_bytes)
                continue
            for _ in range(count):
                end_off = start_off + payload_bytes
                if payload_bytes < NUMPY_FROM_BYTES:
                    frames[start_off:end_off] = frames[start_off:end_off].tobytes()[::-1]
                else:
                    self._in_place(frames[start_off:end_off])
                start_off = end_off + prefix_bytes
        return frames

    def eof(self) -> None:
        """Add nothing at the end of input: every chunk has been answered."""


def reverses(processor: object) -> bool:
    """Return whether all that `processor` does with a chunk is what `Reverse` does. Thread: any.

    Not if its class, or the object itself, has a method of its own for that.
    """
    if not isinstance(processor, Reverse):
        return False
    # Not by a look at `__dict__`: that makes one, of 64 bytes, and each connection has a processor.
    return all(
        getattr(getattr(processor, name), "__func__", None) is getattr(Reverse, name)
        for name in ("process", "process_lines", "process_prefixed")
    )
