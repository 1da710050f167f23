"""The memory of a ring: one mapping, the small slots first."""

import mmap
from typing import NamedTuple

from asyncrev.errors import SettingsError
from asyncrev.limits import SMALL_SLOT_BYTES, SMALL_SLOT_GAP_BYTES

__all__ = ["Storage", "allocate"]


class Storage(NamedTuple):
    """A mapping and how it is divided. Lengths are in bytes.

    Attributes:
        memory: small slots, as many as entries, then the slots.
        stride_bytes: from one small slot to the next.
    """

    memory: mmap.mmap
    slots: int
    slot_bytes: int
    entries: int
    small_slot_bytes: int
    stride_bytes: int


def allocate(
    slots: int,
    slot_bytes: int,
    entries: int | None = None,
    small_slot_bytes: int = SMALL_SLOT_BYTES,
) -> Storage:
    """Allocate the memory of a ring; the arguments are those of `Ring`.

    Raises:
        SettingsError: `slots` or `slot_bytes` is below 1, or `entries` is below `slots`.
    """
    if slots < 1 or slot_bytes < 1:
        raise SettingsError(
            f"a ring of {slots} slots of {slot_bytes} bytes cannot be; both must be >= 1"
        )
    nentries = slots if entries is None else entries
    if nentries < slots:
        raise SettingsError(f"a ring of {entries} entries cannot use {slots} slots")
    small_slot_bytes = min(small_slot_bytes, slot_bytes)
    stride_bytes = small_slot_bytes + SMALL_SLOT_GAP_BYTES
    # An anonymous mapping, because its pages become resident only when they are first written: a
    # server of small messages does not pay for the slots. Private, so that a forked child does not
    # write into the same slots.
    memory = mmap.mmap(
        -1, nentries * stride_bytes + slots * slot_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    )
    return Storage(memory, slots, slot_bytes, nentries, small_slot_bytes, stride_bytes)
