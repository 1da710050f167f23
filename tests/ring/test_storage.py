"""storage: how the memory of a ring is divided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.errors import SettingsError
from asyncrev.limits import SMALL_SLOT_GAP_BYTES
from asyncrev.ring.storage import allocate


@given(
    slots=st.integers(1, 9),
    slot_bytes=st.integers(1, 99),
    more_entries=st.integers(0, 9),
    small_slot_bytes=st.integers(1, 120),
)
def test_memory_has_a_small_slot_for_each_entry_and_all_slots(
    slots: int, slot_bytes: int, more_entries: int, small_slot_bytes: int
) -> None:
    """With a gap behind each small slot; no byte is left over."""
    entries = slots + more_entries
    storage = allocate(slots, slot_bytes, entries, small_slot_bytes)
    assert (storage.slots, storage.slot_bytes, storage.entries) == (slots, slot_bytes, entries)
    assert storage.small_slot_bytes == min(small_slot_bytes, slot_bytes)
    assert storage.stride_bytes == storage.small_slot_bytes + SMALL_SLOT_GAP_BYTES
    assert len(storage.memory) == entries * storage.stride_bytes + slots * slot_bytes
    assert storage.memory[:] == bytes(len(storage.memory))


def test_there_are_as_many_entries_as_slots_unless_more_are_asked_for() -> None:
    """The default of `Ring`."""
    assert allocate(3, 8).entries == 3


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ((0, 1), "a ring of 0 slots of 1 bytes cannot be; both must be >= 1"),
        ((1, 0), "a ring of 1 slots of 0 bytes cannot be; both must be >= 1"),
        ((3, 8, 2), "a ring of 2 entries cannot use 3 slots"),
    ],
)
def test_ring_of_nothing_is_refused(sizes: tuple[int, ...], said: str) -> None:
    """With the numbers."""
    with pytest.raises(SettingsError) as caught:
        allocate(*sizes)
    assert str(caught.value) == said
