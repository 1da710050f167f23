"""The reference work: reverse the bytes of a chunk.

NumPy is the kernel for large chunks because it reverses words and the bytes within them in
one pass and releases the GIL meanwhile: 6 us for 64 KiB where a slice takes 38 us and holds it.
"""

import numpy as np

__all__ = ["NUMPY_FROM_BYTES", "Reverse", "reverse_in_place"]

# Under this a slice is faster; both take 2.6 us at it (docs/decisions/0005-reverse-kernel.md).
NUMPY_FROM_BYTES = 4096

_WORD_BYTES = 8


def reverse_in_place(chunk: memoryview) -> None:
    """Reverse the bytes of `chunk` where they lie.

    Thread: any, as long as no other touches `chunk`. `chunk`: writable, one dimension,
    format "B", contiguous, of any length.
    """
    source = np.frombuffer(chunk, np.uint8)
    tail_bytes = source.size % _WORD_BYTES
    words_bytes = source.size - tail_bytes
    # A big-endian word stored as a little-endian one has its bytes reversed, so one copy with
    # the words in reverse order does both. The odd bytes end up in front, and the whole is
    # built one word into the scratch so that the words in it stay aligned.
    scratch = np.empty(_WORD_BYTES + words_bytes, np.uint8)
    np.copyto(scratch[_WORD_BYTES:].view("<u8"), source[:words_bytes].view(">u8")[::-1])
    if tail_bytes:
        scratch[_WORD_BYTES - tail_bytes : _WORD_BYTES] = source[words_bytes:][::-1]
    source[:] = scratch[_WORD_BYTES - tail_bytes :]


class Reverse:
    """Processor that answers every chunk with its bytes in reverse order.

    Attributes:
        shares_core: tells `asyncrev serve --cpu auto` that this work is so light that handing
            it to another core costs more than the core gives.
    """

    shares_core = True

    def process(self, chunk: memoryview) -> memoryview | bytes:
        """Return the reversed chunk: in place when large, new bytes when small."""
        if chunk.nbytes < NUMPY_FROM_BYTES:
            return chunk.tobytes()[::-1]
        reverse_in_place(chunk)
        return chunk

    def eof(self) -> None:
        """Add nothing at the end of input: every chunk was answered as it came."""
