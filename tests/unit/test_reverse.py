"""reverse: the kernel against the obvious way, at every length around its edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.reverse import NUMPY_FROM_BYTES, Reverse, reverse_in_place

EDGES = [*range(1, 35), *range(NUMPY_FROM_BYTES - 9, NUMPY_FROM_BYTES + 10), 65535, 65536, 65537]


def pattern(nbytes: int) -> bytes:
    """Return bytes in which no neighbourhood repeats soon."""
    return bytes((i * 7 + i // 251) % 256 for i in range(nbytes))


@pytest.mark.parametrize("nbytes", EDGES)
def test_reverse_in_place_at_the_edges_of_words(nbytes: int) -> None:
    """All but a multiple of eight bytes goes a way of its own."""
    memory = bytearray(pattern(nbytes))
    reverse_in_place(memoryview(memory))
    assert memory == pattern(nbytes)[::-1]


@given(st.binary(max_size=300), st.integers(0, 9), st.integers(0, 9))
def test_reverse_in_place_touches_nothing_around(data: bytes, before: int, after: int) -> None:
    """The view may start anywhere, aligned or not."""
    memory = bytearray(b"<" * before + data + b">" * after)
    reverse_in_place(memoryview(memory)[before : before + len(data)])
    assert memory == b"<" * before + data[::-1] + b">" * after


@pytest.mark.parametrize("nbytes", [1, NUMPY_FROM_BYTES - 1, NUMPY_FROM_BYTES, 100_000])
def test_process_returns_the_chunk_reversed(nbytes: int) -> None:
    """Small ones come as new bytes, large ones as the chunk itself."""
    memory = bytearray(pattern(nbytes))
    chunk = memoryview(memory)
    reply = Reverse().process(chunk)
    assert bytes(reply) == pattern(nbytes)[::-1]
    assert (reply is chunk) == (nbytes >= NUMPY_FROM_BYTES)


def test_eof_adds_nothing() -> None:
    """Every chunk was answered when it came."""
    assert Reverse().eof() is None
