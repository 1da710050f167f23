"""Reversal of bytes with NumPy; imported by the first `Reverse()`, because NumPy loads slowly.

NumPy reverses words and the bytes within them in one pass, and releases the GIL meanwhile: 64 KiB
take 6 us, where a slice takes 38 us and holds the GIL (docs/decisions/0005-reverse-kernel.md).
"""

from typing import Any

import numpy as np

from asyncrev.frames.grammar import Run

__all__ = ["SCRATCH_BYTES", "reverse_in_place", "reverse_run"]

SCRATCH_BYTES = 64 * 1024

# Length of rows from which words beat bytes: 16 KiB take 5 us by words, and 7 us by bytes.
_WORDS_FROM_BYTES = 16 * 1024
# Up to a slot, a scratch of the same length is faster (256 KiB: 15 us, from both ends 20 us).
_WHOLE_TO_BYTES = 256 * 1024
_WORD_BYTES = 8
# As types, because NumPy parses a name each time. Stored as the other, a word is reversed.
_LITTLE, _BIG = np.dtype("<u8"), np.dtype(">u8")


def reverse_in_place(chunk: memoryview) -> None:
    """Reverse the bytes of `chunk` in place.

    Thread: any, while no other uses `chunk`. `chunk`: writable, one dimension, format "B",
    contiguous, of any length. The scratch is as long as `chunk` up to 256 KiB, and 64 KiB for a
    longer one.
    """
    source = np.frombuffer(chunk, np.uint8)
    if source.size > _WHOLE_TO_BYTES:
        source = _exchange_ends(source)
    if source.size % _WORD_BYTES:
        _reverse_rows(source)
    else:
        words = np.empty(source.size // _WORD_BYTES, _LITTLE)
        np.copyto(words, source.view(_BIG)[::-1])
        source.view(_LITTLE)[...] = words


def _exchange_ends(source: Any) -> Any:
    """Reverse all but the middle of `source`; return the middle, which fits the scratch."""
    scratch = np.empty(SCRATCH_BYTES, np.uint8).view(_LITTLE)
    front, back = 0, source.size
    while back - front > SCRATCH_BYTES:
        words = min(SCRATCH_BYTES, (back - front) // 2) // _WORD_BYTES
        nbytes = words * _WORD_BYTES
        head = source[front : front + nbytes].view(_LITTLE)
        tail = source[back - nbytes : back].view(_LITTLE)
        np.copyto(scratch[:words], head.view(_BIG)[::-1])
        np.copyto(head, tail.view(_BIG)[::-1])
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
        scratch[..., _WORD_BYTES:].view(_LITTLE),
        source[..., :words_bytes].view(_BIG)[..., ::-1],
    )
    if tail_bytes:
        odd_bytes = source[..., words_bytes:]
        scratch[..., _WORD_BYTES - tail_bytes : _WORD_BYTES] = odd_bytes[..., ::-1]
    source[...] = scratch[..., _WORD_BYTES - tail_bytes :]


def reverse_run(frames: memoryview, run: Run, prefix_bytes: int) -> None:
    """Reverse the payloads of the equal frames `run`, as many at a time as fit the scratch.

    Thread: any, while no other uses `frames`, which are whole frames with their prefixes. A payload
    has at most `SCRATCH_BYTES`.
    """
    start_off, payload_bytes, left = run
    stride = payload_bytes + prefix_bytes
    most = max(1, SCRATCH_BYTES // (payload_bytes + _WORD_BYTES))
    while left:
        count = min(left, most)
        rows = np.ndarray((count, payload_bytes), np.uint8, frames, start_off, (stride, 1))
        if rows.size < _WORDS_FROM_BYTES:
            rows[...] = rows[:, ::-1]  # NumPy detects the overlap, and copies first
        else:
            _reverse_rows(rows)
        start_off += count * stride
        left -= count
