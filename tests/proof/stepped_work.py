"""The worker's part of a lane, made so that a `Run` decides the order; see `stepped`."""

import collections
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from asyncrev.native.choice import NAME, VARIABLE
from asyncrev.ring.row import SHARE_CALLS
from asyncrev.work.lane_work import LaneWork, Share
from asyncrev.work.pending_work import PendingWork
from asyncrev.work.raw_work import RawWork
from asyncrev.work.reply_window import ReplyWindow
from asyncrev.work.requests import Requests
from asyncrev.work.scratch import Scratch
from asyncrev.work.start_tls_work import StartTlsWork
from asyncrev.work.tls_single_records import SingleRecordTlsWork

__all__ = [
    *("LOOP", "NOW", "WORKER", "SmallShare", "SteppedStartTlsWork", "SteppedTlsWork"),
    *("SteppedPendingWork", "SteppedRequests", "SteppedWindow", "SteppedWork", "shared"),
]

if NAME != "python":
    # What is explored is the reference: points are put between the steps of its Python code.
    pytest.skip(
        f"the exploration is of the plane in Python; set {VARIABLE}=python", allow_module_level=True
    )

LOOP, WORKER = "loop", "worker"

NOW = SimpleNamespace(run=None, timeouts=0)


def shared(
    slot: Any, name: str, writer: str, *, only: bool = True, cursor: bool = True
) -> property:
    """Return a property that is a point for all, but for its writer's own reads.

    With `only` nobody else may write it (I3). A `cursor`, or a flag of a ring, never goes back.
    """

    def get(self: Any) -> Any:
        run = self.run
        if run is not None and run.me != writer:
            run.point(f"read {name}")
        return slot.__get__(self)

    def put(self: Any, value: Any) -> None:
        run = self.run
        if run is None:  # while it is made
            slot.__set__(self, value)
            return
        if only and run.me not in (writer, ""):
            run.forbid("WRONG_WRITER", f"{name} was written by the {run.me}")
        run.point(f"write {name} = {value}")
        if cursor and value < slot.__get__(self):
            run.forbid("CURSORS", f"{name} goes back from {slot.__get__(self)} to {value}")
        slot.__set__(self, value)
        if cursor:
            self.check_cursors()

    return property(get, put)


class SteppedWork(RawWork):
    """The real work of a lane; `abandoned`, which the worker may see late, is a point."""

    __slots__ = ("run",)

    def __init__(self, *args: Any, **settings: Any) -> None:
        self.run: Any = None
        super().__init__(*args, **settings)
        self.run = NOW.run


class SteppedPendingWork(PendingWork):
    """The real work of a lane whose replies come later."""

    __slots__ = ("run",)

    def __init__(self, *args: Any, **settings: Any) -> None:
        self.run: Any = None
        super().__init__(*args, **settings)
        self.run = NOW.run


class SteppedDeque(collections.deque[Any]):
    """A queue between the two threads, of which one appends and the other takes."""

    def __init__(self, run: Any, name: str, appender: str) -> None:
        super().__init__()
        self.run = run
        self.name = name
        self.appender = appender

    def append(self, item: Any) -> None:
        if self.run.me not in (self.appender, ""):
            self.run.forbid("WRONG_WRITER", f"{self.run.me} appends to {self.name}")
        self.run.point(f"append to {self.name}")
        super().append(item)

    def popleft(self) -> Any:
        if self.run.me == self.appender:
            self.run.forbid("WRONG_WRITER", f"{self.run.me} takes from {self.name}")
        self.run.point(f"take from {self.name}")
        return super().popleft()

    def __bool__(self) -> bool:
        self.run.point(f"look at {self.name}")
        return len(self) > 0


class SteppedRequests(Requests):
    """The real requests of a lane; the queues between the threads are points."""

    __slots__ = ()

    def __init__(self, most: int, most_bytes: int) -> None:
        super().__init__(most, most_bytes)
        self.made = SteppedDeque(NOW.run, "made", WORKER)
        self.returned = SteppedDeque(NOW.run, "returned", LOOP)


class SteppedTlsWork(SingleRecordTlsWork):
    """The real work of a lane over TLS; what the loop writes of it is a point."""

    __slots__ = ("run",)

    def __init__(self, inner: LaneWork, *args: Any) -> None:
        self.run: Any = None
        super().__init__(inner, *args)
        self.run = NOW.run
        if isinstance(inner, SteppedWork):
            inner.run = None  # the loop has no part in it


class SteppedStartTlsWork(StartTlsWork):
    """The same of a lane that may change to TLS."""

    __slots__ = ("run",)

    def __init__(self, inner: LaneWork) -> None:
        self.run: Any = None
        super().__init__(inner)
        self.run = NOW.run
        if isinstance(inner, SteppedWork):
            inner.run = None  # what the loop writes is passed on to it


for _cls, _name in (
    (SteppedWork, "abandoned"),
    (SteppedTlsWork, "abandoned"),
    (SteppedTlsWork, "input_end"),
    (SteppedStartTlsWork, "abandoned"),
    (SteppedStartTlsWork, "input_end"),
):
    setattr(_cls, _name, shared(getattr(LaneWork, _name), _name, LOOP, cursor=False))


class SteppedWindow(ReplyWindow):
    """The real window, which both threads look at: its limit is a point; I21 is checked."""

    __slots__ = ("most_surplus_bytes", "run")

    def __init__(self, window_bytes: int, most_surplus_bytes: int) -> None:
        """Make one for replies whose surplus is at most `most_surplus_bytes` each."""
        self.run: Any = None
        super().__init__(window_bytes)
        self.run = NOW.run
        self.most_surplus_bytes = most_surplus_bytes

    def produce(self, surplus_bytes: int) -> None:
        super().produce(surplus_bytes)
        limit_bytes = ReplyWindow.__dict__["limit_bytes"].__get__(self)
        if self.produced_bytes > limit_bytes + self.most_surplus_bytes:
            self.run.forbid("WINDOW", f"{self.produced_bytes} bytes of surplus, not {limit_bytes}")


SteppedWindow.limit_bytes = shared(  # type: ignore[assignment]
    ReplyWindow.__dict__["limit_bytes"], "limit_bytes", LOOP, cursor=False
)


class SmallShare(Share):
    """A lane over TLS decrypts few records in a batch; what more came is deferred.

    Attributes:
        records: how many; a run sets it at its beginning.
    """

    __slots__ = ()

    records: ClassVar[int] = 1

    def __init__(
        self,
        scratch: Scratch,
        most_calls: int = SHARE_CALLS,
        most_records: int = 0,
        most_handshakes: int = 1,
    ) -> None:
        super().__init__(scratch, most_calls, most_records or self.records, most_handshakes)
