"""What becomes of frames whose worker is lost."""

import pytest

from asyncrev.errors import ExecutorLost
from asyncrev.executors.batching import Batch, Frame, ReadyFrames
from asyncrev.executors.counts import Counts
from asyncrev.executors.lost_frames import LostFrames
from tests.executors.jobs import Job

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])


def batch_of(*payloads: bytes) -> tuple[Batch, list[Job]]:
    """Return a batch, and its jobs."""
    jobs = [Job(payload) for payload in payloads]
    for job in jobs:
        job.is_starting = False
    return Batch([Frame(job, job.request.payload, 0.0) for job in jobs], None), jobs


async def test_frames_are_tried_once_more_each_alone_where_they_may_be() -> None:
    """A second loss is final."""
    ready, counts = ReadyFrames(), Counts()
    lost = LostFrames(ready, counts, may_retry=True)
    batch, jobs = batch_of(b"a", b"b", b"c")
    batch.frames[1].is_cancelled = True
    lost.add_batch(batch, "died", None)
    assert jobs[1].answer.result() is None
    again = [ready.take(16, 1000), ready.take(16, 1000)]
    assert [[frame.payload for frame in frames] for frames in again] == [[b"a"], [b"c"]]
    assert (counts.retries, dict(counts.lost)) == (2, {})
    lost.add_batch(Batch(again[0], None), "hung", None)
    assert "in time" in str(jobs[0].answer.result())
    assert dict(counts.lost) == {"hung": 1}
    assert not len(ready)


async def test_frames_fail_where_they_may_not_be_tried_again() -> None:
    """With what the worker was lost by as the cause; or once the engine has given up."""
    ready, counts = ReadyFrames(), Counts()
    lost = LostFrames(ready, counts, may_retry=True)
    lost.may_retry = False
    batch, jobs = batch_of(b"a", b"b")
    error = OSError("so it is")
    lost.add_batch(batch, "died", error)
    for job in jobs:
        failure = job.answer.result()
        assert isinstance(failure, ExecutorLost)
        assert failure.__cause__ is error
    assert (counts.retries, dict(counts.lost), len(ready)) == (0, {"died": 2}, 0)
