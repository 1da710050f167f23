"""reverse_numpy: NumPy's way against a slice, at every length around its edges."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.frames.grammar import Run
from asyncrev.work.reverse import NUMPY_FROM_BYTES
from asyncrev.work.reverse_numpy import reverse_in_place, reverse_run
from tests.support import pattern, traced_peak_bytes

EDGES = [*range(1, 35), *range(NUMPY_FROM_BYTES - 9, NUMPY_FROM_BYTES + 10), 65535, 65536, 65537]


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


@pytest.mark.parametrize(
    "nbytes",
    [
        *range(256 * 1024 - 1, 256 * 1024 + 18),
        *range(320 * 1024 - 9, 320 * 1024 + 10),
        2**20 - 3,
        2**20,
    ],
)
def test_reverse_in_place_from_both_ends_agrees_with_a_slice(nbytes: int) -> None:
    """Whatever is left in the middle, at an odd address too."""
    data = os.urandom(nbytes)
    memory = bytearray(b"<" + data + b">")
    reverse_in_place(memoryview(memory)[1:-1])
    assert memory == b"<" + data[::-1] + b">"


@pytest.mark.parametrize(
    ("nbytes", "most_bytes"),
    [
        (64 * 1024, 64 * 1024),
        (256 * 1024, 256 * 1024),
        (256 * 1024 + 1, 64 * 1024),
        (2**20, 64 * 1024),
        (2**22 + 5, 64 * 1024),
    ],
)
def test_reverse_in_place_takes_no_more_scratch_than_it_says(nbytes: int, most_bytes: int) -> None:
    """NumPy tells its allocations to tracemalloc."""
    chunk = memoryview(bytearray(nbytes))
    reverse_in_place(chunk)  # what NumPy allocates once
    assert most_bytes <= traced_peak_bytes(lambda: reverse_in_place(chunk)) < most_bytes + 4000


@given(
    st.sampled_from([0, 4, 8]),
    st.sampled_from([*range(1, 20), 64, 1000, 4096, 5003]),
    st.integers(1, 40),
    st.integers(0, 9),
)
def test_reverse_run_reverses_payloads_and_leaves_the_rest(
    prefix_bytes: int, payload_bytes: int, count: int, before: int
) -> None:
    """However many fit the scratch at once; the run may begin anywhere."""
    prefix, payload = b"#" * prefix_bytes, pattern(payload_bytes)
    frames = (prefix + payload) * count
    memory = bytearray(b"<" * before + frames + b">")
    reverse_run(memoryview(memory), Run(before + prefix_bytes, payload_bytes, count), prefix_bytes)
    assert memory == b"<" * before + (prefix + payload[::-1]) * count + b">"
