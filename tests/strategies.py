"""Hypothesis strategies that tests share; settings that keep them quick and repeatable."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from asyncrev.testing import strategies as testing
from asyncrev.testing.strategies import lengths as chunkings
from asyncrev.testing.transports import split

__all__ = ["QUICK", "chunked", "chunkings", "frame_lists", "slot_bytes", "slots", "split"]

# For examples that start a thread or a loop each. No deadline: other tests share the machine.
QUICK = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

# Rings so small that every wrap-around and every full ring is met soon.
slots = st.integers(1, 8)
slot_bytes = st.integers(1, 16)


def chunked(max_size: int = 60, most_bytes: int = 16) -> st.SearchStrategy[list[bytes]]:
    """Bytes, split anywhere into pieces of up to `most_bytes`."""
    return testing.chunkings(st.binary(max_size=max_size), most_bytes=most_bytes)


def frame_lists(most_bytes: int = 40) -> st.SearchStrategy[list[tuple[bytes, bytes]]]:
    r"""Payloads with line ends; some hold bytes that look like ends, many are equally long."""
    payloads = st.one_of(
        st.binary(max_size=most_bytes),
        st.sampled_from([b"", b"\r", b"!", b"a\rb", b"0123456789"]),
        st.integers(0, most_bytes).map(lambda nbytes: b"a" * nbytes),
    )
    frames = st.tuples(payloads, st.sampled_from([b"\n", b"\r\n"]))
    return st.lists(frames, max_size=12)
