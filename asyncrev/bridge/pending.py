"""Pending requests: what was asked of processors whose replies come later, ordered and bounded.

Theory of operation. The worker finds requests in a lane's input, and hands them on with an entry. A
lane has a FIFO queue of them. They are started in its order, as many at once as `Limits` allow,
and may finish in any; finished ones go back to the worker from the head of the queue, so one that
takes long delays its own connection only. Until its reply is given out a request has a place in its
lane's room (I27), so a lane whose replies do not come is not read any more.

  I28  at most `pending_total` requests run at once; while input and replies of started ones take
       `pending_total_bytes` or more, only lanes without a started one may start one
  I29  lanes that wait to start a request are served round robin
"""

import asyncio
import collections

from asyncrev.bridge.lane_pending import LanePending, PendingJob
from asyncrev.bridge.running_time import RunningClock, step_of
from asyncrev.errors import ProcessorTimeout
from asyncrev.limits import Limits
from asyncrev.statistics import PendingStatistics
from asyncrev.work.requests import Request

__all__ = ["Pending"]


class Pending:
    """The pending requests of all lanes of a server, or of a bridge. Thread: loop.

    Attributes:
        count: requests without a reply, running or not.
        running: those that an engine has.
        running_high: the most at once.
        held_bytes: input and replies of started ones, until the replies are given out.
        timeouts: how many ran for too long.
    """

    __slots__ = (
        "_blocked",
        "_clock",
        "_is_serving",
        "_jobs",
        "_lanes",
        "_most",
        "_most_bytes",
        "_timer",
        "_waiting",
        "count",
        "held_bytes",
        "running",
        "running_high",
        "timeouts",
    )

    def __init__(self, limits: Limits) -> None:
        self._most = limits.pending_total
        self._most_bytes = limits.pending_total_bytes
        self._waiting: collections.deque[LanePending] = collections.deque()  # I29
        self._blocked: collections.deque[LanePending] = collections.deque()  # for bytes
        self._lanes: set[LanePending] = set()
        self._jobs: dict[PendingJob, None] = {}  # in the order of their starts
        self._timer: asyncio.TimerHandle | None = None
        self._clock = RunningClock(0.0)
        self._is_serving = False
        self.count = 0
        self.running = 0
        self.running_high = 0
        self.held_bytes = 0
        self.timeouts = 0

    @property
    def waiting_lanes(self) -> int:
        """How many lanes wait to start a request."""
        return len(self._waiting) + len(self._blocked)

    def now_s(self) -> float:
        """Return the loop's time."""
        return asyncio.get_running_loop().time()

    def statistics(self) -> PendingStatistics:
        """Return what is known now; it takes a step for each connection."""
        times = [made_s for lane in self._lanes if (made_s := lane.oldest_s) is not None]
        return PendingStatistics(
            requests=self.count,
            running=self.running,
            running_high=self.running_high,
            waiting_connections=self.waiting_lanes,
            held_bytes=self.held_bytes,
            oldest_s=max(0.0, self.now_s() - min(times)) if times else 0.0,
            timeouts=self.timeouts,
        )

    def add(self, lane: LanePending) -> None:
        """Take the requests of a new lane in."""
        self._lanes.add(lane)

    def want(self, lane: LanePending) -> None:
        """Have `lane` start what it may, in turn with others."""
        if not (lane.is_waiting or lane.is_blocked):
            lane.is_waiting = True
            self._waiting.append(lane)
        self._serve()

    def forget(self, lane: LanePending) -> None:
        """Let a lane go; what of it is running still counts."""
        self._lanes.discard(lane)
        if lane.is_waiting:
            lane.is_waiting = False
            self._waiting.remove(lane)
        if lane.is_blocked:
            lane.is_blocked = False
            self._blocked.remove(lane)

    def release(self, nbytes: int) -> None:
        """Note that so much is held no more."""
        self.held_bytes -= nbytes
        while self._blocked and self.held_bytes < self._most_bytes:
            self.unblock(self._blocked[0])

    def unblock(self, lane: LanePending) -> None:
        """Let `lane`, which waits for bytes, try again."""
        self._blocked.remove(lane)
        lane.is_blocked = False
        lane.is_waiting = True
        self._waiting.append(lane)
        self._serve()

    def job_finished(self, job: PendingJob) -> None:
        """Note that a started request runs no more: another may start."""
        self._jobs.pop(job, None)
        self.running -= 1
        self._serve()

    def _serve(self) -> None:
        """Start what may be started (I28, I29)."""
        if self._is_serving or not self._waiting:  # an engine may finish a request at once
            return
        self._is_serving = True
        try:
            waiting = self._waiting
            while waiting and self.running < self._most:
                lane = waiting.popleft()
                lane.is_waiting = False
                request = lane.startable()
                if request is None:
                    continue
                if lane.held and self.held_bytes >= self._most_bytes:
                    lane.is_blocked = True
                    self._blocked.append(lane)
                    continue
                self._start(lane, request)
                if lane.startable() is not None and not lane.is_waiting:
                    lane.is_waiting = True
                    waiting.append(lane)
        finally:
            self._is_serving = False

    def _start(self, lane: LanePending, request: Request) -> None:
        self.held_bytes += request.nbytes
        self.running += 1
        self.running_high = max(self.running_high, self.running)
        if lane.timeout_s is None:
            lane.run(lane.start(0.0))
            return
        if self._timer is None:
            self._clock = RunningClock(asyncio.get_running_loop().time())
            self._plan(lane.timeout_s)
        job = lane.start(self._clock.now_s)
        self._jobs[job] = None
        lane.run(job)

    def _plan(self, timeout_s: float) -> None:
        loop, step_s = asyncio.get_running_loop(), step_of(timeout_s)
        self._timer = loop.call_later(step_s, self._look, timeout_s, step_s)

    def _look(self, timeout_s: float, step_s: float) -> None:
        """End requests that have run for `timeout_s`; the clock is read once per step."""
        now_s = self._clock.read(asyncio.get_running_loop().time(), step_s)
        self._timer = None
        for job in tuple(self._jobs):
            if now_s - job.started_s < timeout_s + step_s:
                break
            del self._jobs[job]  # it is told once, and counts until it has ended
            self.timeouts += 1
            job.lane.time_out(
                job,
                ProcessorTimeout(
                    f"a processor has not answered within processor_timeout_s, {timeout_s} s"
                ),
            )
        if self._jobs:
            self._plan(timeout_s)
