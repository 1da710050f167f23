"""Flow control of one lane, as plain numbers: functions without state, for `admission`.

I8   a lane with entries or bytes in flight above its quota may not publish until half is back
"""

__all__ = ["is_half_back"]


def is_half_back(entries: int, nbytes: int, most_entries: int, most_bytes: int) -> bool:
    """Return whether a lane that has lost its credit gets it again.

    Not one by one: a lane that pauses and resumes its reading with each entry costs more.
    """
    return entries <= most_entries // 2 and nbytes <= most_bytes // 2
