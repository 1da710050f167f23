"""The grammar of frames: where they begin and end in bytes.

Nothing is kept here and nothing waits: a caller brings bytes, and is told which of them are whole
frames. What is left over is the beginning of a frame; the caller holds it, and asks with each
later chunk how many bytes of it are `missing`.

A frame that is too large is an error of what comes after the frames before it. So `scan` returns
it instead of raising, and those before are answered first.
"""

import sys
from typing import NamedTuple

from asyncrev.errors import FrameTooLarge

__all__ = ["UNBOUNDED_STEPS", "Run", "Scan"]

UNBOUNDED_STEPS = sys.maxsize


class Run(NamedTuple):
    """Frames of equal length, one directly after another.

    Attributes:
        start_off: where the payload of the first one begins.
        payload_bytes: length of each payload; the next one begins this and a prefix further.
        frames: how many.
    """

    start_off: int
    payload_bytes: int
    frames: int


class Scan(NamedTuple):
    """What `scan` found.

    Attributes:
        consumed_bytes: length of the whole frames at the front.
        runs: those frames, in order. Lines have none.
        error: why what follows them cannot become a frame; None when it can.
        stopped: whether the scan stopped because of `most_steps`, so more whole frames may follow.
    """

    consumed_bytes: int
    runs: list[Run]
    error: FrameTooLarge | None
    stopped: bool = False
