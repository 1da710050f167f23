"""The reference work: reverse the bytes of a chunk.

NumPy is the kernel for large chunks because it reverses words and the bytes within them in
one pass and releases the GIL meanwhile: 6 us for 64 KiB where a slice takes 38 us and holds it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from asyncrev.frames.grammar import Run
from asyncrev.frames.lines import newline_off

__all__ = ["NUMPY_FROM_BYTES", "Reverse", "reverse_in_place"]

# Under this a slice is faster; both take 2.6 us at it (docs/decisions/0005-reverse-kernel.md).
NUMPY_FROM_BYTES = 4096

# Equal frames from which NumPy beats a slice for each: 4 of 64 bytes take 1.1 us either way.
_ROWS_FROM_FRAMES = 4
# Rows from which words beat bytes: 16 KiB take 5 us by words, and 7 us by bytes.
_WORDS_FROM_BYTES = 16 * 1024

# Mean length of lines up to which the two bytes of \r\n are searched for at once.
_SPLIT_TO_BYTES = 64

_CR = 13
_WORD_BYTES = 8
_SCRATCH_BYTES = 64 * 1024
# Up to a slot, a scratch as large is faster (256 KiB: 15 us, from both ends 20 us).
_WHOLE_TO_BYTES = 256 * 1024


def reverse_in_place(chunk: memoryview) -> None:
    """Reverse the bytes of `chunk` where they lie.

    Thread: any, as long as no other touches `chunk`. `chunk`: writable, one dimension,
    format "B", contiguous, of any length. The scratch is as long as `chunk` up to 256 KiB, and
    64 KiB for a longer one.
    """
    source = np.frombuffer(chunk, np.uint8)
    if source.size > _WHOLE_TO_BYTES:
        source = _exchange_ends(source)
    _reverse_rows(source)


def _exchange_ends(source: Any) -> Any:
    """Reverse all but the middle of `source`; return the middle, which fits the scratch."""
    scratch = np.empty(_SCRATCH_BYTES, np.uint8).view("<u8")
    front, back = 0, source.size
    while back - front > _SCRATCH_BYTES:
        words = min(_SCRATCH_BYTES, (back - front) // 2) // _WORD_BYTES
        nbytes = words * _WORD_BYTES
        head = source[front : front + nbytes].view("<u8")
        tail = source[back - nbytes : back].view("<u8")
        np.copyto(scratch[:words], head.view(">u8")[::-1])
        np.copyto(head, tail.view(">u8")[::-1])
        np.copyto(tail, scratch[:words])
        front += nbytes
        back -= nbytes
    return source[front:back]


def _reverse_rows(source: Any) -> None:
    """Reverse each row of `source`, or all of it if it has one dimension."""
    tail_bytes = source.shape[-1] % _WORD_BYTES
    words_bytes = source.shape[-1] - tail_bytes
    # A big-endian word stored as a little-endian one has its bytes reversed, so one copy with
    # the words in reverse order does both. The odd bytes end up in front, and the whole is
    # built one word into the scratch so that the words in it stay aligned.
    scratch = np.empty((*source.shape[:-1], _WORD_BYTES + words_bytes), np.uint8)
    np.copyto(
        scratch[..., _WORD_BYTES:].view("<u8"),
        source[..., :words_bytes].view(">u8")[..., ::-1],
    )
    if tail_bytes:
        odd_bytes = source[..., words_bytes:]
        scratch[..., _WORD_BYTES - tail_bytes : _WORD_BYTES] = odd_bytes[..., ::-1]
    source[...] = scratch[..., _WORD_BYTES - tail_bytes :]


def _reverse_run(frames: memoryview, run: Run, prefix_bytes: int) -> None:
    """Reverse the payloads of equal frames, as many at once as fit the scratch."""
    start_off, payload_bytes, left = run
    stride = payload_bytes + prefix_bytes
    most = max(1, _SCRATCH_BYTES // (payload_bytes + _WORD_BYTES))
    while left:
        count = min(left, most)
        rows = np.ndarray((count, payload_bytes), np.uint8, frames, start_off, (stride, 1))
        if rows.size < _WORDS_FROM_BYTES:
            rows[...] = rows[:, ::-1]  # NumPy sees that they overlap, and copies first
        else:
            _reverse_rows(rows)
        start_off += count * stride
        left -= count


def _reversed_lines(lines: memoryview) -> bytes:
    """Return whole lines with each payload reversed; `lines` may be changed."""
    if len(lines) < NUMPY_FROM_BYTES:
        text = lines.tobytes()[::-1]
    else:
        reverse_in_place(lines)
        text = lines.tobytes()
    # All is reversed now: each line begins with its end, the last line comes first. So the
    # parts are the payloads in the wrong order, behind one empty part.
    parts = text.split(b"\n")
    if b"\r" in text:
        # With \r\n everywhere a split on both has no work left for each line, but searches slowly:
        # lines of 16 bytes take 71 ns instead of 103, those of 256 bytes 415 ns instead of 244.
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
        shares_core: tells `asyncrev serve --cpu auto` that this work is so light that handing
            it to another core costs more than the core gives.
        may_run_inline, replies_fit, keeps_line_ends: see `Processor`.
    """

    shares_core = True
    may_run_inline = True
    replies_fit = True
    keeps_line_ends = True

    def process(self, chunk: memoryview) -> memoryview | bytes:
        """Return the reversed chunk: in place when large, new bytes when small."""
        if chunk.nbytes < NUMPY_FROM_BYTES:
            return chunk.tobytes()[::-1]
        reverse_in_place(chunk)
        return chunk

    def process_lines(self, lines: memoryview) -> memoryview | bytes:
        r"""Return whole lines with each payload reversed, and the line ends as they were.

        Thread: worker. `lines`: as a chunk of `process`; ends in "\n". If one of them is large,
        or they are more than 64 KiB, `lines` itself is changed and returned; else new bytes are,
        and what is in `lines` then is of no use.
        """
        off = done_off = 0
        while len(lines) - off > NUMPY_FROM_BYTES:
            ahead = lines[off : off + NUMPY_FROM_BYTES].tobytes()
            short_bytes = ahead.rfind(b"\n") + 1
            off += short_bytes
            # Bounded, for each line becomes an object: many megabytes in all, if they are tiny.
            if off - done_off > _SCRATCH_BYTES or not short_bytes:
                lines[done_off:off] = _reversed_lines(lines[done_off:off])
                done_off = off
            if not short_bytes:
                end_off = newline_off(lines, off + NUMPY_FROM_BYTES)
                payload_end_off = end_off - (lines[end_off - 1] == _CR)
                reverse_in_place(lines[off:payload_end_off])
                off = done_off = end_off + 1
        if not done_off:
            return _reversed_lines(lines)
        lines[done_off:] = _reversed_lines(lines[done_off:])
        return lines

    def process_prefixed(
        self, frames: memoryview, runs: Sequence[Run], prefix_bytes: int
    ) -> memoryview:
        """Return `frames`, with the payloads of all `runs` reversed in place.

        Thread: worker. `frames`: as a chunk of `process`; whole frames, prefixes included.
        """
        for run in runs:
            start_off, payload_bytes, count = run
            if payload_bytes < 2:
                continue
            if count >= _ROWS_FROM_FRAMES and payload_bytes <= _SCRATCH_BYTES:
                _reverse_run(frames, run, prefix_bytes)
                continue
            for _ in range(count):
                end_off = start_off + payload_bytes
                if payload_bytes < NUMPY_FROM_BYTES:
                    frames[start_off:end_off] = frames[start_off:end_off].tobytes()[::-1]
                else:
                    reverse_in_place(frames[start_off:end_off])
                start_off = end_off + prefix_bytes
        return frames

    def eof(self) -> None:
        """Add nothing at the end of input: every chunk was answered as it came."""
