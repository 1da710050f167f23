"""Every grammar against a plain reader of the same bytes, whole and split anywhere."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.frames.grammar import Grammar
from asyncrev.frames.registry import FRAMINGS
from tests import strategies
from tests.readers import (
    LEN32,
    LEN64,
    LINE,
    put_together,
    read,
    scanned,
    trail,
    wrapped,
)

SAMPLES: dict[str, list[bytes]] = {
    "line": [
        b"a\nbc\r\n\n\r\nlast\n",
        b"\r\r\n\ra\r\nb\r\r\n\r\n",
        b"12345678\n123456789\n",
        b"123456789\r\n",
        b"1234567890\r\n",
    ],
    "len32": [wrapped(LEN32, [0, 0, 5, 0, 9, 9]), wrapped(LEN32, [1] * 12 + [10])],
    "len64": [wrapped(LEN64, [0, 0, 5, 0, 9, 9]), wrapped(LEN64, [1] * 12 + [10])],
}


@pytest.mark.parametrize("name", FRAMINGS)
def test_frames_cut_anywhere_are_found_the_same(name: str) -> None:
    """Whole, byte by byte, and at every one and two split points, with anything behind them."""
    framing = FRAMINGS[name]
    for sample in SAMPLES[name]:
        for end in trail(framing):
            data = sample + end
            expected = read(framing, data, 9)
            assert scanned(framing, data, 9) == expected
            assert put_together(framing, [data[i : i + 1] for i in range(len(data))], 9) == expected
            for one in range(1, len(data)):
                assert put_together(framing, [data[:one], data[one:]], 9) == expected
                for two in range(one + 1, len(data), 5):
                    pieces = [data[:one], data[one:two], data[two:]]
                    assert put_together(framing, pieces, 9) == expected


@pytest.mark.parametrize("name", FRAMINGS)
@given(data=st.binary(max_size=60), pieces=strategies.chunkings(9), most=st.integers(0, 300))
def test_any_bytes_are_frames_or_too_large_and_nothing_else(
    name: str, data: bytes, pieces: list[int], most: int
) -> None:
    """A peer can cause no error but the documented one."""
    framing = FRAMINGS[name]
    assert put_together(framing, strategies.cut(data, pieces), most) == read(framing, data, most)


def traced_peak_bytes(framing: Grammar, data: memoryview, most: int) -> int:
    """Return how much one scan allocates at most at a time."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        framing.scan(data, most)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_scan_does_not_copy_large_chunks() -> None:
    """Pieces of them at most, wherever the line ends, and of large frames nothing."""
    data = bytearray(2**20)
    for newline_at in (0, 2**19, 2**20 - 1):
        data[newline_at] = 10
        for most in (2**20, 2**19 + 1, 5000):
            assert traced_peak_bytes(LINE, memoryview(data), most) < 80_000
            assert newline_at == 0 or LINE.scan(memoryview(data), 2**20).consumed_bytes > newline_at
    frames = wrapped(LEN32, [200_000] * 5)
    assert traced_peak_bytes(LEN32, memoryview(frames), 2**20) < 4000
