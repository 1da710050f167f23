"""What becomes of frames whose worker is lost: a second try, or an error. Thread: loop."""

from asyncrev.errors import ExecutorLost
from asyncrev.executors.batching import Batch, Frame, ReadyFrames
from asyncrev.executors.counts import Counts

__all__ = ["LostFrames"]

MOST_TRIES = 2  # of a frame whose worker is lost: in a batch, and alone

_WHY = {
    "died": "the worker of an executor that had the frame died",
    "hung": "the worker of an executor that had the frame did not answer in time",
    "cancelled": "the executor cancelled the call with the frame",
}


class LostFrames:
    """Decides for each frame of a lost batch. Thread: loop.

    Attributes:
        may_retry: whether the function is idempotent, and the engine has not given up.
    """

    __slots__ = ("_counts", "_ready", "may_retry")

    def __init__(self, ready: ReadyFrames, counts: Counts, *, may_retry: bool) -> None:
        """Prepare. Frames are put back into `ready`; both objects are the engine's."""
        self._ready = ready
        self._counts = counts
        self.may_retry = may_retry

    def add_batch(self, batch: Batch, cause: str, error: BaseException | None) -> None:
        """Take the frames of a batch that a worker may have begun with."""
        lost = ExecutorLost(_WHY.get(cause, cause))
        lost.__cause__ = error
        for frame in batch.frames:
            self._add(frame, cause, lost)

    def _add(self, frame: Frame, cause: str, lost: ExecutorLost) -> None:
        frame.tries += 1
        if frame.is_cancelled:
            frame.job.finish(None)
        elif self.may_retry and frame.tries < MOST_TRIES:
            self._counts.retries += 1
            self._ready.try_again(frame)
        else:
            self.fail(frame, cause, lost)

    def fail(self, frame: Frame, cause: str, lost: ExecutorLost) -> None:
        """Finish a frame that is lost for good."""
        self._counts.lost[cause] += 1
        frame.job.finish(None, lost)
