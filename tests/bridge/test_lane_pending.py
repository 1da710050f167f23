"""lane_pending: what a lane may start when, and what is left of it when it is closed."""

from types import SimpleNamespace
from typing import Any

import pytest

from asyncrev import Limits
from asyncrev.bridge.lane_pending import LanePending
from asyncrev.bridge.pending import Pending
from asyncrev.work.requests import Request, RequestKind, Requests
from tests.pending import ScriptedEngine

EPOLL = pytest.mark.asyncio(loop_factories=["epoll"])


class Resumed:
    """Counts how often a lane was to be resumed, as an `Admission` is asked to."""

    def __init__(self) -> None:
        self.times = 0

    def resume(self, lane: object) -> None:
        self.times += 1


def lane_of(engine: Any, **limits: Any) -> tuple[LanePending, Pending, Resumed]:
    pending, resumed = Pending(Limits(**limits)), Resumed()
    lane = LanePending(pending, engine, Requests(10, 1000))
    lane.attach(SimpleNamespace(work=SimpleNamespace(info="who")), resumed)
    return lane, pending, resumed


def make(lane: LanePending, *kinds: RequestKind) -> None:
    for kind in kinds:
        lane.requests.make(Request(kind, b"abc", b"", 3))
    lane.collect()


@EPOLL
async def test_connected_is_before_all_others_and_eof_behind_them() -> None:
    """Each alone; frames are many at once."""
    engine = ScriptedEngine()
    lane, _, _ = lane_of(engine)
    frame = RequestKind.FRAME
    make(lane, RequestKind.CONNECTED, frame, frame, RequestKind.EOF)
    assert [job.request.kind for job in engine.jobs] == [RequestKind.CONNECTED]
    assert engine.jobs[0].info == "who"
    engine.finish(engine.jobs[0], None)
    assert [job.request.kind for job in engine.jobs] == [frame, frame]
    engine.finish(engine.jobs[0], b"x")
    assert len(engine.jobs) == 1
    engine.finish(engine.jobs[0], b"y")
    assert [job.request.kind for job in engine.jobs] == [RequestKind.EOF]


@EPOLL
async def test_worker_is_resumed_for_what_is_at_the_head() -> None:
    """Once for all that is ready then."""
    engine = ScriptedEngine()
    lane, pending, resumed = lane_of(engine)
    make(lane, *[RequestKind.FRAME] * 3)
    first, second, third = engine.jobs
    engine.finish(third, b"3")
    engine.finish(second, b"2")
    assert resumed.times == 0
    assert not lane.may_resume(has_input=False)
    engine.finish(first, b"1")
    assert resumed.times == 1
    assert lane.may_resume(has_input=False)
    assert [one.reply for one in lane.requests.returned] == [b"1", b"2", b"3"]
    assert pending.held_bytes == 12
    while lane.requests.next_returned():
        pass
    assert lane.is_owed
    lane.collect()
    assert not lane.is_owed
    assert (pending.held_bytes, lane.held) == (0, 0)


@EPOLL
async def test_engine_that_raises_fails_its_request() -> None:
    """It has one outcome, and counts no more."""

    class Broken(ScriptedEngine):
        def start(self, job: Any) -> None:
            raise RuntimeError("broken")

    lane, pending, resumed = lane_of(Broken())
    make(lane, RequestKind.FRAME)
    assert isinstance(lane.requests.returned[0].error, RuntimeError)
    assert (pending.running, resumed.times) == (0, 1)


@EPOLL
async def test_engine_may_answer_at_once() -> None:
    """Within `start`, as an eager task does."""

    class Eager(ScriptedEngine):
        def start(self, job: Any) -> None:
            job.finish(job.request.payload)
            job.finish(b"twice")

    lane, pending, _ = lane_of(Eager(), pending_total=1)
    make(lane, *[RequestKind.FRAME] * 5)
    assert [one.reply for one in lane.requests.returned] == [b"abc"] * 5
    assert (pending.running, pending.count) == (0, 0)


@EPOLL
async def test_closed_lane_gives_everything_back() -> None:
    """What runs still counts as running, until its engine says otherwise."""
    engine = ScriptedEngine()
    lane, pending, resumed = lane_of(engine, pending_total=3)
    make(lane, *[RequestKind.FRAME] * 5)
    engine.finish(engine.jobs[0], b"ready")
    engine.finish(engine.jobs[1], b"not at the head")
    assert resumed.times == 1
    lane.close()
    lane.close()
    assert engine.closed == 1
    assert pending.running == len(engine.cancelled) == 3
    assert (pending.count, pending.waiting_lanes) == (0, 0)
    make(lane, RequestKind.FRAME)
    while engine.cancelled:
        engine.finish(engine.cancelled[0], b"late")
    assert (pending.count, pending.running, pending.held_bytes, lane.held) == (0, 0, 0, 0)


def test_room_decides_whether_input_is_a_reason_to_resume() -> None:
    """A lane that is full goes on when a reply is given out, or when there is no request at all."""
    lane, _, _ = lane_of(ScriptedEngine())
    assert lane.may_resume(has_input=True)
    assert not lane.may_resume(has_input=False)
    for _ in range(10):
        lane.requests.make(Request(RequestKind.FRAME, b"", b"", 1))
    assert not lane.may_resume(has_input=True)
