"""flow_control: plain numbers, against what they are for."""

from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from asyncrev.bridge.flow_control import is_half_back
from asyncrev.limits import LEAST_READ_BYTES
from asyncrev.ring.row import SHARE_CALLS, adapted_read_bytes

amounts = st.integers(0, 100)
most = st.integers(1, 100)
SLOT_BYTES = 256 * 1024
reads = st.integers(LEAST_READ_BYTES, SLOT_BYTES)


@given(amounts, amounts, most, most)
def test_credit_comes_back_with_half_of_both_quotas(
    entries: int, nbytes: int, most_entries: int, most_bytes: int
) -> None:
    """Exactly half is enough, also of an odd quota."""
    model = max(Fraction(entries, most_entries), Fraction(nbytes, most_bytes)) <= Fraction(1, 2)
    assert is_half_back(entries, nbytes, most_entries, most_bytes) is model


@given(most, most)
def test_lane_with_nothing_in_flight_always_has_credit(most_entries: int, most_bytes: int) -> None:
    """Else a lane with a quota of one would stop for ever."""
    assert is_half_back(0, 0, most_entries, most_bytes)


@given(reads, st.data(), st.integers(0, 100 * SHARE_CALLS))
def test_next_read_has_its_bounds_and_changes_for_a_reason(
    read_bytes: int, data: st.DataObject, calls: int
) -> None:
    """Shorter after an entry of many calls, longer after a full read of few, else the same."""
    entry_bytes = data.draw(st.integers(0, read_bytes))
    adapted_bytes = adapted_read_bytes(read_bytes, entry_bytes, calls, SLOT_BYTES)
    assert LEAST_READ_BYTES <= adapted_bytes <= SLOT_BYTES
    if adapted_bytes > read_bytes:
        assert 2 * calls <= SHARE_CALLS
        assert entry_bytes == read_bytes
        assert adapted_bytes <= 2 * read_bytes
    if adapted_bytes < read_bytes:
        assert 2 * calls > SHARE_CALLS


@given(reads, st.integers(1, SLOT_BYTES), st.integers(SHARE_CALLS // 2 + 1, 100 * SHARE_CALLS))
def test_read_after_many_calls_fits_the_share_if_its_input_is_alike(
    read_bytes: int, entry_bytes: int, calls: int
) -> None:
    """Unless it is the least that a read may have."""
    assume(entry_bytes <= read_bytes)
    adapted_bytes = adapted_read_bytes(read_bytes, entry_bytes, calls, SLOT_BYTES)
    calls_per_byte = Fraction(calls, entry_bytes)
    assert adapted_bytes * calls_per_byte <= SHARE_CALLS or adapted_bytes == LEAST_READ_BYTES


@given(reads, st.integers(1, 4000))
def test_reads_of_a_steady_lane_come_to_need_no_deferring(
    read_bytes: int, frame_bytes: int
) -> None:
    """Full reads of equal frames, one call each: within ten reads, and for good."""
    for number in range(30):
        calls = read_bytes // frame_bytes
        if number >= 10:
            assert calls <= SHARE_CALLS or read_bytes == LEAST_READ_BYTES
            assert 4 * calls > SHARE_CALLS or read_bytes == SLOT_BYTES
        read_bytes = adapted_read_bytes(read_bytes, read_bytes, calls, SLOT_BYTES)
