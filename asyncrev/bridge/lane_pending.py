"""The pending requests of one lane: a FIFO queue, from the worker and back to it; see `pending`."""

import collections
from typing import Any

from asyncrev.bridge.engine import Engine
from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import ProcessorTimeout
from asyncrev.work.requests import Request, RequestKind, Requests

__all__ = ["LanePending", "PendingJob"]


class PendingJob:
    """A request that is running; see `engine.Job`. Thread: loop."""

    __slots__ = ("engine_data", "is_cancelled", "is_running", "lane", "request", "started_s")

    def __init__(self, lane: "LanePending", request: Request, started_s: float) -> None:
        self.lane = lane
        self.request = request
        self.started_s = started_s
        self.is_running = True
        self.is_cancelled = False
        self.engine_data: Any = None  # the engine's own

    @property
    def state(self) -> Any:
        """What the engine keeps of the connection."""
        return self.lane.state

    @property
    def info(self) -> ConnectionInfo | None:
        """Who the peer is."""
        return self.lane.info

    def finish(self, reply: bytes | None, error: BaseException | None = None) -> None:
        """See `engine.Job.finish`."""
        if self.is_running:
            self.is_running = False
            self.lane.job_finished(self, reply, error)


class LanePending:
    """The pending requests of one lane. Thread: loop.

    Attributes:
        requests: the queues between the worker and this; its fields name their writers.
        state: what the engine keeps of the connection.
        held: how many of its requests are started, and their replies not given out.
        is_waiting, is_blocked: whether it is in one of the queues of `Pending`.
        timeout_s: how long a request may run; see `Engine.timeout_s`.
    """

    __slots__ = (
        "_admission",
        "_engine",
        "_given_seen",
        "_handed_bytes",
        "_is_closed",
        "_jobs",
        "_lane",
        "_pending",
        "_queue",
        "_unstarted",
        "held",
        "is_blocked",
        "is_waiting",
        "requests",
        "state",
        "timeout_s",
    )

    def __init__(self, pending: Any, engine: Engine, requests: Requests) -> None:
        """Start empty. `pending`: the `Pending` of all lanes, whose numbers this writes, too."""
        self._pending = pending
        self._engine = engine
        self.requests = requests
        self.state = engine.open_lane()
        self.timeout_s = engine.timeout_s
        self._lane: Any = None
        self._admission: Any = None
        self._queue: collections.deque[Request] = collections.deque()
        self._unstarted: collections.deque[Request] = collections.deque()
        self._jobs: set[PendingJob] = set()
        self._handed_bytes: collections.deque[int] = collections.deque()
        self._given_seen = 0
        self._is_closed = False
        self.held = 0
        self.is_waiting = False
        self.is_blocked = False
        pending.add(self)

    def attach(self, lane: Any, admission: Any) -> None:
        """Note whose requests these are, and who resumes it. Once, before the first."""
        self._lane = lane
        self._admission = admission

    @property
    def info(self) -> ConnectionInfo | None:
        """Who the peer is."""
        info: ConnectionInfo | None = self._lane.work.info
        return info

    @property
    def is_owed(self) -> bool:
        """Whether replies are still to come, or to be given out."""
        return bool(self._queue or self._handed_bytes)

    @property
    def oldest_s(self) -> float | None:
        """When the oldest request without a reply was seen, in the loop's time."""
        return self._queue[0].made_s if self._queue else None

    def may_resume(self, *, has_input: bool) -> bool:
        """Return whether the worker has something to do with a RESUME entry.

        Only while no entry of the lane is in the ring. `has_input`: whether there is input that it
        has deferred, or the end of it.
        """
        requests = self.requests
        if requests.returned:
            return True
        return has_input and (requests.room() > 0 or not requests.pending)

    def collect(self) -> None:
        """Take what the worker has left with an entry: new requests, places of given replies."""
        requests, pending = self.requests, self._pending
        given = requests.given_count
        while self._given_seen < given and self._handed_bytes:
            self._given_seen += 1
            self.held -= 1
            pending.release(self._handed_bytes.popleft())
        if self.is_blocked and not self.held:
            pending.unblock(self)
        if not requests.made:
            return
        now_s = pending.now_s()
        while requests.made:
            request = requests.made.popleft()
            if self._is_closed:
                continue
            request.made_s = now_s
            self._queue.append(request)
            self._unstarted.append(request)
            pending.count += 1
        pending.want(self)

    def startable(self) -> Request | None:
        """Return the request that may start next, apart from the bounds for all lanes."""
        if not self._unstarted:
            return None
        request, head = self._unstarted[0], self._queue[0]
        if request is not head and (
            request.kind is not RequestKind.FRAME or head.kind is RequestKind.CONNECTED
        ):
            return None  # `connected` is before all others, and `eof` behind
        return request

    def start(self, now_s: float) -> PendingJob:
        """Start the request that `startable` has returned."""
        request = self._unstarted.popleft()
        self.held += 1
        job = PendingJob(self, request, now_s)
        self._jobs.add(job)
        return job

    def run(self, job: PendingJob) -> None:
        """Have the engine begin; what that raises is the request's error."""
        try:
            self._engine.start(job)
        except BaseException as error:
            job.finish(None, error)

    def job_finished(
        self, job: PendingJob, reply: bytes | None, error: BaseException | None
    ) -> None:
        """Note what came of a started request."""
        self._jobs.discard(job)
        self.settle(job.request, reply, error)
        self._pending.job_finished(job)

    def settle(self, request: Request, reply: bytes | None, error: BaseException | None) -> None:
        """Note the outcome of a request, unless it has one; give back what is ready."""
        if request.is_settled:
            return
        request.is_settled = True
        request.payload = b""
        request.error = error
        if error is None:
            request.reply = reply
        if self._is_closed:
            self.held -= 1
            self._pending.release(request.nbytes)
            return
        if reply is not None and error is None:
            self._pending.held_bytes += len(reply)
        self._hand_back()

    def _hand_back(self) -> None:
        queue, requests = self._queue, self.requests
        if not queue[0].is_settled:
            return
        while queue and queue[0].is_settled:
            request = queue.popleft()
            self._pending.count -= 1
            self._handed_bytes.append(request.held_bytes)
            requests.returned.append(request)
        self._admission.resume(self._lane)
        if self._unstarted:
            self._pending.want(self)

    def time_out(self, job: PendingJob, error: ProcessorTimeout) -> None:
        """End a request that runs for too long; it keeps its place until it has really ended."""
        self.settle(job.request, None, error)
        self._cancel(job)

    def _cancel(self, job: PendingJob) -> None:
        if not job.is_cancelled:
            job.is_cancelled = True
            self._engine.cancel(job)

    def close(self) -> None:
        """Give all up: the connection has gone, or its bridge. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        pending = self._pending
        pending.forget(self)
        pending.count -= len(self._queue)
        for request in self._queue:
            if request.is_settled:
                self.held -= 1
                pending.release(request.held_bytes)
        self._queue.clear()
        self._unstarted.clear()
        while self._handed_bytes:
            self.held -= 1
            pending.release(self._handed_bytes.popleft())
        for job in tuple(self._jobs):
            self._cancel(job)
        self._engine.close_lane(self.state)
