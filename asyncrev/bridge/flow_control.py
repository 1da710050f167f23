"""Flow control of one lane, as plain numbers: functions without state, for `admission`.

I8   a lane with entries or bytes in flight above its quota may not publish until half is back
"""

from asyncrev.limits import LEAST_READ_BYTES
from asyncrev.work.lane_work import SHARE_CALLS

__all__ = ["adapted_read_bytes", "is_half_back"]


def is_half_back(entries: int, nbytes: int, most_entries: int, most_bytes: int) -> bool:
    """Return whether a lane that has lost its credit gets it again.

    Not one by one: a lane that pauses and resumes its reading with each entry costs more.
    """
    return entries <= most_entries // 2 and nbytes <= most_bytes // 2


def adapted_read_bytes(read_bytes: int, entry_bytes: int, calls: int, slot_bytes: int) -> int:
    """Return the most of a framed lane's next read, after an entry that took so many calls.

    The worker defers what costs more than SHARE_CALLS; a read that needs no deferring is best.
    """
    if calls > SHARE_CALLS // 2:
        fitting_bytes = entry_bytes * SHARE_CALLS // calls
        return max(LEAST_READ_BYTES, min(read_bytes, fitting_bytes))
    if entry_bytes == read_bytes:
        return min(2 * read_bytes, slot_bytes)
    return read_bytes
