"""limit_bounds: the formulas of memory, written out a second time."""

from hypothesis import given
from hypothesis import strategies as st

from asyncrev.limit_bounds import FIXED_CONNECTION_BYTES, WRITE_BUFFER_OVERHEAD
from asyncrev.limits import Limits
from asyncrev.ring.ring import Ring


@given(slots=st.integers(1, 9), more=st.integers(0, 9), slot_bytes=st.integers(1, 10_000))
def test_ring_bytes_are_what_a_ring_takes(slots: int, more: int, slot_bytes: int) -> None:
    """The formula and the ring agree."""
    limits = Limits(slots=slots, entries=slots + more, slot_bytes=slot_bytes)
    ring = Ring(limits.slots, limits.slot_bytes, limits.entries)
    assert limits.ring_bytes == len(ring.storage)


@given(
    st.builds(
        Limits,
        slots=st.integers(1, 1000),
        slot_bytes=st.integers(1, 1 << 20),
        in_flight_bytes=st.integers(1, 1 << 20),
        high_water_bytes=st.integers(0, 1 << 20),
        overflow_bytes=st.integers(1, 1 << 16),
        max_connections=st.integers(1, 10_000),
    )
)
def test_memory_bound_is_ring_plus_connections_plus_what_there_is_once(limits: Limits) -> None:
    """The formula, written out a second time."""
    unsent = limits.high_water_bytes + limits.in_flight_bytes + limits.slot_bytes
    connection = (
        int(unsent * WRITE_BUFFER_OVERHEAD) + limits.overflow_bytes + FIXED_CONNECTION_BYTES
    )
    small = limits.entries * (min(limits.slot_bytes, 4096) + 64)
    assert limits.ring_bytes == limits.slots * limits.slot_bytes + small
    assert limits.unsent_bytes == unsent
    assert limits.connection_bytes == connection
    assert limits.memory_bound_bytes == (
        limits.ring_bytes + limits.max_connections * connection + unsent + limits.overflow_bytes
    )


@given(
    st.builds(
        Limits,
        slots=st.integers(1, 1000),
        slot_bytes=st.integers(1, 1 << 20),
        high_water_bytes=st.integers(0, 1 << 20),
        overflow_bytes=st.integers(1, 1 << 16),
        max_frame_bytes=st.integers(1, 1 << 20),
        partial_frame_bytes=st.integers(1024, 1 << 16),
        pool_bytes=st.integers(1 << 22, 1 << 26),
        max_connections=st.integers(1, 10_000),
    )
)
def test_framed_memory_bound_has_the_pool_once_and_connections_without_it(limits: Limits) -> None:
    """It grows by what one connection takes, by more than the pool, and by each buffer."""
    unsent_bytes = int(
        (limits.high_water_bytes + limits.partial_frame_bytes) * WRITE_BUFFER_OVERHEAD
    )
    connection = unsent_bytes + limits.partial_frame_bytes + FIXED_CONNECTION_BYTES
    assert limits.framed_connection_bytes == connection
    bound = limits.framed_memory_bound_bytes
    more = limits.replace(max_connections=2 * limits.max_connections)
    assert more.framed_memory_bound_bytes - bound == limits.max_connections * connection
    larger = limits.replace(pool_bytes=limits.pool_bytes + 8000)
    assert larger.framed_memory_bound_bytes - bound >= 8000
    once = limits.max_connections * connection + limits.ring_bytes + limits.pool_bytes
    assert bound >= once + limits.overflow_bytes + limits.high_water_bytes
