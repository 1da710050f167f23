"""An engine that a test answers for, and lanes on it."""

from typing import Any

from asyncrev import Bridge
from asyncrev.bridge.engine import Job
from asyncrev.frames.registry import as_framing
from asyncrev.later_processors import LaterFactory
from tests.sinks import RecordingSink

__all__ = ["PendingSink", "ScriptedEngine"]


class ScriptedEngine:
    """Keeps what it is to answer, until the test says what comes of it; see `engine.Engine`."""

    calls_connected = False

    def __init__(self, *, calls_eof: bool = False, timeout_s: float | None = None) -> None:
        self.calls_eof = calls_eof
        self.timeout_s = timeout_s
        self.jobs: list[Any] = []  # started, neither finished nor cancelled
        self.cancelled: list[Any] = []  # cancelled, not finished
        self.running_high = 0
        self.opened = self.closed = 0

    @property
    def running(self) -> int:
        """How many it has to finish."""
        return len(self.jobs) + len(self.cancelled)

    def open_lane(self) -> object:
        """Count."""
        self.opened += 1
        return object()

    def start(self, job: Job) -> None:
        """Keep it."""
        self.jobs.append(job)
        self.running_high = max(self.running_high, self.running)

    def cancel(self, job: Job) -> None:
        """Keep it apart."""
        self.jobs.remove(job)
        self.cancelled.append(job)

    def close_lane(self, state: object) -> None:
        """Count."""
        self.closed += 1

    def finish(self, job: Any, reply: bytes | None, error: BaseException | None = None) -> None:
        """Say what came of a request."""
        (self.jobs if job in self.jobs else self.cancelled).remove(job)
        job.finish(reply, error)

    def finish_all(self) -> None:
        """Answer everything with its bytes in swapped case, until nothing is left."""
        while self.running:
            job = (self.jobs or self.cancelled)[0]
            self.finish(job, job.request.payload.swapcase())


class PendingSink(RecordingSink):
    """A sink of a lane whose replies an engine makes."""

    def __init__(self, bridge: Bridge, engine: Any, framing: str = "raw") -> None:
        self.bridge = bridge
        self.fail_in = ""
        self.received = bytearray()
        self.calls = []
        self.errors = []
        self.may_publish = True
        self.pieces = []
        factory = LaterFactory(engine, replies_fit=False)
        self.lane = bridge.open(
            self, factory, views_allowed=True, framing=as_framing(framing), engine=engine
        )
