"""memory_bound: the terms of the bound, and what adds to them."""

import pytest

from asyncrev.limits import TLS_CONNECTION_BYTES, Limits
from asyncrev.server.memory_bound import MemoryBound

LIMITS = Limits(max_connections=10, max_reply_bytes=0)


@pytest.mark.parametrize("framed", [False, True])
def test_bound_of_one_bridge_whose_replies_fit_is_that_of_the_limits(framed: bool) -> None:
    """Framed or not: nothing is added."""
    bound = MemoryBound(LIMITS, bridges=1, framed=framed, replies_fit=True)
    expected = LIMITS.framed_memory_bound_bytes if framed else LIMITS.memory_bound_bytes
    one = LIMITS.framed_connection_bytes if framed else LIMITS.connection_bytes
    assert (bound.total_bytes, bound.connection_bytes) == (expected, one)
    assert bound.replies_are_bounded


@pytest.mark.parametrize("framed", [False, True])
def test_each_further_bridge_adds_its_own_bytes(framed: bool) -> None:
    """And changes nothing for a connection."""
    one = MemoryBound(LIMITS, bridges=1, framed=framed, replies_fit=True)
    four = MemoryBound(LIMITS, bridges=4, framed=framed, replies_fit=True)
    bridge_bytes = LIMITS.framed_bridge_bytes if framed else LIMITS.bridge_bytes
    assert four.total_bytes == one.total_bytes + 3 * bridge_bytes
    assert four.connection_bytes == one.connection_bytes


def test_replies_that_may_be_longer_add_their_bytes_for_each_connection_and_two() -> None:
    """They are bounded by `max_reply_bytes` alone."""
    limits = LIMITS.replace(max_reply_bytes=1 << 20)
    fitting = MemoryBound(limits, bridges=1, framed=True, replies_fit=True)
    longer = MemoryBound(limits, bridges=1, framed=True, replies_fit=False)
    assert limits.amplified_bytes > 0
    assert longer.connection_bytes == fitting.connection_bytes + limits.amplified_bytes
    assert longer.total_bytes == fitting.total_bytes + 12 * limits.amplified_bytes
    assert longer.replies_are_bounded
    assert not MemoryBound(LIMITS, bridges=1, framed=True, replies_fit=False).replies_are_bounded


@pytest.mark.parametrize("framed", [False, True])
def test_tls_adds_its_bytes_for_each_connection(framed: bool) -> None:
    """Whatever the limits are."""
    plain = MemoryBound(LIMITS, bridges=1, framed=framed, replies_fit=True)
    over_tls = MemoryBound(LIMITS, bridges=1, framed=framed, replies_fit=True, tls=True)
    assert over_tls.connection_bytes == plain.connection_bytes + TLS_CONNECTION_BYTES
    assert over_tls.total_bytes == plain.total_bytes + 10 * TLS_CONNECTION_BYTES
