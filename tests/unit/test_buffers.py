"""buffers: any buffer as a flat view of its bytes."""

import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.buffers import byte_view


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"abc", b"abc"),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (memoryview(b"abc")[::-1], b"cba"),
        (array.array("H", [0x4141, 0x4242]), b"AABB"),
        (memoryview(b"abcd").cast("B", (2, 2)), b"abcd"),
        (memoryview(b"abc").cast("c"), b"abc"),
        (array.array("H"), b""),
        (b"", b""),
    ],
)
def test_any_buffer_is_seen_as_its_bytes(data: Any, seen: bytes) -> None:
    """One dimension, single bytes, contiguous."""
    view = byte_view(data)
    assert (view.format, view.ndim, view.c_contiguous) == ("B", 1, True)
    assert view == seen


@given(st.integers(1, 9))
def test_contiguous_memory_is_not_copied(nbytes: int) -> None:
    """What is written there afterwards is seen."""
    memory = bytearray(8 * nbytes)
    for view in (memoryview(memory), memoryview(memory).cast("Q")):
        memory[-1] = 0
        seen = byte_view(view)
        memory[-1] = 7
        assert seen[-1] == 7


def test_what_has_no_buffer_is_refused() -> None:
    """As by `memoryview`."""
    with pytest.raises(TypeError):
        byte_view("text")
