"""A lane's work on one slot of memory, without a ring, a loop or a thread."""

import mmap
from collections.abc import Callable
from typing import Any

from asyncrev.frames.registry import as_framing
from asyncrev.ring.ring import Entry, Kind, Ring
from asyncrev.work.block_pool import Pool
from asyncrev.work.lane_work import UNBOUNDED_SHARE, Share
from asyncrev.work.make_work import make_work
from asyncrev.work.reply_window import UNBOUNDED_BYTES


class Recorder:
    """A processor that notes its calls and answers with what it was given."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def process(self, chunk: memoryview) -> memoryview:
        """Answer with the chunk."""
        self.calls.append(bytes(chunk))
        return chunk

    def eof(self) -> bytes:
        """Answer with a last word."""
        self.calls.append("eof")
        return b"bye"

    def close(self) -> None:
        """Note it."""
        self.calls.append("close")


class Bench:
    """A lane with one slot of memory."""

    def __init__(
        self,
        factory: Callable[[], Any],
        *,
        views_allowed: bool = True,
        framing: str = "raw",
        window_bytes: int = UNBOUNDED_BYTES,
    ) -> None:
        self.storage = mmap.mmap(-1, 16)
        self.pool = Pool(Ring(1, 1), 4096)
        self.lane_work = make_work(
            factory,
            views_allowed=views_allowed,
            framing=as_framing(framing),
            max_frame_bytes=5,
            window_bytes=window_bytes,
        )

    def work(self, kind: Kind, data: bytes = b"", share: Share = UNBOUNDED_SHARE) -> Entry:
        """Have the lane work on one entry."""
        entry = Entry(memoryview(self.storage))
        entry.partial_frame_bytes = entry.frame_seq = 77  # of the lane that used this entry before
        entry.view[: len(data)] = data
        entry.owner, entry.kind, entry.nbytes = self, kind, len(data)
        self.lane_work.do(entry, self.storage, self.pool, share)
        return entry


def joined(entry: Entry) -> bytes:
    """Return the whole result, however many pieces it is in."""
    return b"".join(entry.result) if isinstance(entry.result, tuple) else bytes(entry.result or b"")
