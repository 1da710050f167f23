"""Hypothesis strategies that tests share; settings that keep them quick and repeatable."""

from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

__all__ = ["QUICK", "chunked", "chunkings", "cut", "frame_lists", "slot_bytes", "slots"]

# For examples that start a thread or a loop each. No deadline: other tests share the machine.
QUICK = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

# Rings so small that every wrap-around and every full ring is met soon.
slots = st.integers(1, 8)
slot_bytes = st.integers(1, 16)


def cut(data: bytes, lengths: Sequence[int]) -> list[bytes]:
    """Return `data` in pieces of `lengths`; what they do not cover is the last piece."""
    pieces, start = [], 0
    for nbytes in lengths:
        pieces.append(data[start : start + nbytes])
        start += nbytes
    pieces.append(data[start:])
    return [piece for piece in pieces if piece]


def chunkings(most_bytes: int) -> st.SearchStrategy[list[int]]:
    """Lengths of pieces, each from 1 to `most_bytes`."""
    return st.lists(st.integers(1, most_bytes), max_size=20)


@st.composite
def chunked(draw: Any, max_size: int = 60, most_bytes: int = 16) -> list[bytes]:
    """Bytes, cut anywhere into pieces of up to `most_bytes`."""
    data = draw(st.binary(max_size=max_size))
    pieces = cut(data, draw(chunkings(most_bytes)))
    return [
        piece[start : start + most_bytes]
        for piece in pieces
        for start in range(0, len(piece), most_bytes)
    ]


def frame_lists(most_bytes: int = 40) -> st.SearchStrategy[list[tuple[bytes, bytes]]]:
    r"""Payloads with line ends; some hold bytes that look like ends, many are equally long."""
    payloads = st.one_of(
        st.binary(max_size=most_bytes),
        st.sampled_from([b"", b"\r", b"!", b"a\rb", b"0123456789"]),
        st.integers(0, most_bytes).map(lambda nbytes: b"a" * nbytes),
    )
    frames = st.tuples(payloads, st.sampled_from([b"\n", b"\r\n"]))
    return st.lists(frames, max_size=12)
