"""Frames that are ready, and the batches that are made of them. Pure; thread: loop."""

import collections
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

__all__ = ["Batch", "Frame", "ReadyFrames", "share_of"]


class Frame:
    """One frame on its way to a worker and back. Thread: loop.

    Attributes:
        job: of the bridge: `finish` is called once.
        payload: the frame.
        tries: how many batches with it were lost.
        ready_s: since when it waits, in the loop's time.
        is_cancelled: whether nobody wants the reply.
    """

    __slots__ = ("is_cancelled", "job", "payload", "ready_s", "tries")

    def __init__(self, job: Any, payload: bytes, ready_s: float) -> None:
        self.job = job
        self.payload = payload
        self.ready_s = ready_s
        self.tries = 0
        self.is_cancelled = False


class Batch:
    """Frames that went to a worker in one call. Thread: loop.

    Attributes:
        frames: in the order of the results.
        future: of the call; read on the loop's thread once it is done.
        unit: which executor has it.
        began_s: when a worker can have begun with it, in the loop's time; None while it waits
            behind another one.
        is_over: whether its frames are finished, or tried elsewhere; results are then ignored.
        arena: where its large frames are, or None.
    """

    __slots__ = ("arena", "began_s", "frames", "future", "is_over", "unit")

    def __init__(self, frames: list[Frame], unit: Any) -> None:
        self.frames = frames
        self.unit = unit
        self.future: Future[Any] | None = None
        self.began_s: float | None = None
        self.is_over = False
        self.arena: Any = None


class ReadyFrames:
    """Frames that wait for a worker, oldest first, and those that are tried again, alone."""

    __slots__ = ("_again", "_frames")

    def __init__(self) -> None:
        self._frames: collections.deque[Frame] = collections.deque()
        self._again: collections.deque[Frame] = collections.deque()

    def __len__(self) -> int:
        return len(self._frames) + len(self._again)

    @property
    def again(self) -> int:
        """How many are to be tried again."""
        return len(self._again)

    @property
    def oldest_s(self) -> float | None:
        """Since when the oldest waits, or None."""
        times = [frames[0].ready_s for frames in (self._frames, self._again) if frames]
        return min(times, default=None)

    def add(self, frame: Frame) -> None:
        """Put a frame behind all others."""
        self._frames.append(frame)

    def put_back(self, frames: Iterable[Frame]) -> None:
        """Put frames that no worker has begun with before all others, in their order."""
        for frame in reversed(list(frames)):
            (self._again if frame.tries else self._frames).appendleft(frame)

    def try_again(self, frame: Frame) -> None:
        """Have a frame that was lost tried again, in a batch of its own."""
        self._again.append(frame)

    def take(self, most_frames: int, most_bytes: int) -> list[Frame]:
        """Take the frames of a batch: one that is tried again, or up to so many others.

        The first is taken however long it is. Cancelled ones count: their jobs are not finished.
        """
        if self._again:
            return [self._again.popleft()]
        taken: list[Frame] = []
        nbytes = 0
        while self._frames and len(taken) < most_frames:
            nbytes += len(self._frames[0].payload)
            if taken and nbytes > most_bytes:
                break
            taken.append(self._frames.popleft())
        return taken

    def fills(self, most_frames: int, most_bytes: int) -> bool:
        """Return whether there is a full batch, or one to be tried again."""
        if self._again or len(self._frames) >= most_frames:
            return True
        nbytes = 0
        for frame in self._frames:  # fewer than `most_frames`
            nbytes += len(frame.payload)
            if nbytes >= most_bytes:
                return True
        return False

    def take_all(self) -> list[Frame]:
        """Take everything that waits."""
        frames = [*self._again, *self._frames]
        self._again.clear()
        self._frames.clear()
        return frames

    def take_cancelled(self) -> list[Frame]:
        """Take those that nobody wants any more."""
        cancelled = [frame for frame in (*self._again, *self._frames) if frame.is_cancelled]
        if cancelled:
            for frames in (self._again, self._frames):
                kept = [frame for frame in frames if not frame.is_cancelled]
                frames.clear()
                frames.extend(kept)
        return cancelled


def share_of(ready: int, idle: int, most_frames: int) -> int:
    """Return how many of `ready` frames the next of `idle` workers gets: all get about as many."""
    return min(most_frames, -(-ready // idle))
