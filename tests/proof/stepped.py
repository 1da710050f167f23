"""What the real code waits on and shares, made so that a `Run` decides the order.

`explore_real` puts these in the place of what `wakeups`, `loop_side`, `bridge`, `channel` and
`worker` get from the system and from each other; nothing else of asyncrev is changed. Points are
the cursors, the flags, every lock, the worker's sleep, and the loop's queue and sleep. What must be
touched under a lock, or by one thread only, is no point: that it is so is checked instead.
"""

import asyncio
import contextlib
from collections.abc import Callable, Hashable
from types import SimpleNamespace
from typing import Any
from unittest import mock

from asyncrev.loop.eventloop import EpollEventLoop
from asyncrev.ring.ring import Entry, Ring
from asyncrev.ring.wakeups import DeliverySignal, Parker
from tests.proof.scheduler import Aborted, Explored, Run, explore
from tests.proof.stepped_work import (
    LOOP,
    NOW,
    WORKER,
    SmallShare,
    SteppedPendingWork,
    SteppedRequests,
    SteppedStartTlsWork,
    SteppedTlsWork,
    SteppedWork,
    shared,
)

__all__ = ["LOOP", "WORKER", "HookedLoop", "Scenario", "SteppedLoop", "explore_real"]


class SteppedLock:
    """A lock. To take it is a point; to let go of it is not, for one comes before it matters."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.owner = ""

    def __enter__(self) -> None:
        self._run.point("lock", lambda: not self.owner)
        self.owner = self._run.me

    def __exit__(self, *_: object) -> None:
        self.owner = ""


class SteppedEdge:
    """An eventfd with its edge-triggered epoll: `poll` returns once for any number of writes.

    A poll without a write may time out, as often as the run allows.
    """

    def __init__(self, run: Run, name: str, timeouts: int = 0) -> None:
        self._run = run
        self._name = name
        self._timeouts = timeouts
        self.is_set = False

    def write(self) -> None:
        self._run.point(f"wake the {self._name}")
        self.is_set = True

    def poll(self, timeout_s: float = -1, most: int = -1) -> list[tuple[int, int]]:
        self._run.point(
            f"{self._name} sleeps",
            lambda: self.is_set or (timeout_s >= 0 and self._timeouts > 0),
        )
        if self.is_set:
            self.is_set = False
            return [(0, 1)]
        self._timeouts -= 1
        return []


class OwnedColumn(list[Any]):
    """A column of the ring that may be touched only by who owns the row (I2)."""

    def __init__(self, ring: "SteppedRing", name: str, values: list[Any]) -> None:
        super().__init__(values)
        self.ring = ring
        self.name = name

    def _check(self, place: int | slice) -> None:
        for pos in range(len(self))[place] if isinstance(place, slice) else (place,):
            self.ring.check_owner(pos, self.name)
            if self.name == "owners":
                self.ring.check_read(pos)

    def __getitem__(self, place: Any) -> Any:
        if not isinstance(place, slice):
            self.ring.check_owner(place, self.name)
            if self.name == "results" and self.ring.run.me == LOOP:
                self.ring.was_read[place] = True
        return super().__getitem__(place)

    def __setitem__(self, place: Any, value: Any) -> None:
        self._check(place)
        super().__setitem__(place, value)
        if self.name == "owners" and not isinstance(place, slice):
            self.ring.was_read[place] = False


class SteppedRing(Ring):
    """The real ring; its cursors and flags are points, its rows know whose they are."""

    __slots__ = ("run", "was_read")

    def __init__(self, *args: Any, **settings: Any) -> None:
        self.run: Any = None
        super().__init__(*args, **settings)
        self.run = NOW.run
        self.was_read = [True] * self.nentries  # the row's result, by the loop
        for name in ("owners", "kinds", "slot_of", "sizes", "results", "reports"):
            setattr(self, name, OwnedColumn(self, name, getattr(self, name)))

    def entry(self, seq: int) -> Entry:
        entry = super().entry(seq)
        entry.ring, entry.pos = self, seq % self.nentries  # type: ignore[attr-defined]
        return entry

    def cursors(self) -> tuple[int, int, int]:
        """Return the three as they are, without a point."""
        return tuple(_SLOTS[name].__get__(self) for name in _CURSORS)  # type: ignore[return-value]

    def check_cursors(self) -> None:
        """I1."""
        published, processed, released = self.cursors()
        if not released <= processed <= published <= released + self.nentries:
            self.run.forbid("CURSORS", f"{released}, {processed}, {published} of {self.nentries}")

    def check_owner(self, pos: int, what: str) -> None:
        """I2: who touches a row now must own it."""
        run = self.run
        if not run.me:
            return
        published, processed, _ = self.cursors()
        in_worker = (pos - processed) % self.nentries < published - processed
        if run.me == WORKER and not in_worker:
            run.forbid("REUSED", f"the worker touches {what} of an entry that is the loop's")
        if run.me == LOOP and in_worker:
            run.forbid("UNFINISHED", f"the loop touches {what} of an entry that is the worker's")

    def check_read(self, pos: int) -> None:
        """No result may be released unread whose owner is still there, and wants it."""
        owner = list.__getitem__(self.owners, pos)
        has_gone = getattr(owner, "sink", self) is None or getattr(owner, "abandoned", False)
        if owner is not None and not (self.was_read[pos] or has_gone):
            self.run.forbid("UNDELIVERED", "an entry is released whose result was not read")
        self.was_read[pos] = True


_CURSORS = ("published_seq", "processed_seq", "released_seq")
_SLOTS = {name: Ring.__dict__[name] for name in (*_CURSORS, "input_closed", "output_closed")}
for _name, _writer in (
    ("published_seq", LOOP),
    ("processed_seq", WORKER),
    ("released_seq", LOOP),
    ("output_closed", WORKER),
):
    setattr(SteppedRing, _name, shared(_SLOTS[_name], _name, _writer))
# Whoever stops first may close the input.
SteppedRing.input_closed = shared(  # type: ignore[assignment]
    _SLOTS["input_closed"], "input_closed", LOOP, only=False
)


def _owned(name: str) -> property:
    slot = Entry.__dict__[name]

    def get(self: Any) -> Any:
        if self.ring is not None:
            self.ring.check_owner(self.pos, name)
            if name == "result" and self.ring.run.me == LOOP:
                self.ring.was_read[self.pos] = True
        return slot.__get__(self)

    def put(self: Any, value: Any) -> None:
        if self.ring is not None:
            self.ring.check_owner(self.pos, name)
        slot.__set__(self, value)

    return property(get, put)


class OwnedEntry(Entry):
    """An entry that may be touched by its owner only (I2)."""

    __slots__ = ("pos", "ring")

    def __init__(self, view: memoryview) -> None:
        self.ring: Any = None
        self.pos = 0
        super().__init__(view)


for _name in (
    *("calls", "ended", "error", "frame_seq", "kind", "nbytes", "owner", "partial_frame_bytes"),
    *("result", "surplus_bytes", "view"),
):
    setattr(OwnedEntry, _name, _owned(_name))


def _guarded(cls: type, name: str, *, may_peek: bool) -> property:
    """Return a property that must be touched under `_lock`; with `may_peek` but for reads."""
    slot = cls.__dict__[name]

    def get(self: Any) -> Any:
        run = self.run
        if run is not None and run.me and self._lock.owner != run.me:
            if not may_peek:
                run.forbid("WRONG_WRITER", f"{name} is read without its lock")
            run.point(f"peek at {name}")
        return slot.__get__(self)

    def put(self: Any, value: Any) -> None:
        run = self.run
        if run is not None and run.me and self._lock.owner != run.me:
            run.forbid("WRONG_WRITER", f"{name} is written without its lock")
        slot.__set__(self, value)

    return property(get, put)


class SteppedParker(Parker):
    """The real parker; `_parked` must be touched under its lock."""

    __slots__ = ("run",)

    def __init__(self) -> None:
        self.run: Any = None
        super().__init__()
        self.run = NOW.run

    def __del__(self) -> None:
        """There is no descriptor."""


SteppedParker._parked = _guarded(Parker, "_parked", may_peek=False)  # type: ignore[assignment]


class SteppedSignal(DeliverySignal):
    """The real signal; `awaited` must be written under its lock, and may be peeked at."""

    __slots__ = ("clears", "run")

    def __init__(self, post: Callable[[], object]) -> None:
        self.run: Any = None
        self.clears = 0

        def post_and_count() -> None:
            if self.requests > self.clears + 1:
                self.run.forbid(
                    "TWO_DELIVERIES",
                    f"asked {self.requests} times, {self.clears} deliveries have begun",
                )
            post()

        super().__init__(post_and_count)
        self.run = NOW.run

    def clear(self) -> None:
        self.clears += 1
        super().clear()


SteppedSignal.awaited = _guarded(  # type: ignore[assignment]
    DeliverySignal, "awaited", may_peek=True
)


class SteppedThread:
    """What the worker takes for `threading.Thread`."""

    def __init__(self, run: Run, target: Callable[[], None], name: str) -> None:
        self._run = run
        self._target = target
        self._actor: Any = None
        self.name = name

    def start(self) -> None:
        self._actor = self._run.spawn(WORKER, self._target)

    def is_alive(self) -> bool:
        return self._actor is not None and not self._actor.is_over

    def join(self, timeout_s: float | None = None) -> None:
        self._run.point("join", lambda: self._actor.is_over)


class SteppedLoop(asyncio.BaseEventLoop):
    """asyncio's own loop, callbacks, tasks and futures, without descriptors; time stands still.

    So no timer is ever due. A poll returns once something woke it.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self.edge = SteppedEdge(run, LOOP)
        self.errors: list[dict[str, Any]] = []
        self._selector = self
        run.at_end.append(self._end)

    def _end(self) -> None:
        for task in asyncio.all_tasks(self):  # of a run that was aborted
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(Exception, Aborted):
                task.get_coro().close()  # type: ignore[union-attr]
        self.close()

    def time(self) -> float:
        return 0.0

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.run.is_on:
            self.errors.append(context)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        self.run.point("call_soon_threadsafe")
        self._check_closed()
        handle = self._call_soon(callback, args, context)
        self._write_to_self()
        return handle

    def _write_to_self(self) -> None:
        self.edge.write()

    def select(self, timeout: float | None = None) -> list[Any]:
        """Sleep until woken, unless something is ready (the loop's own, or seen just now)."""
        if timeout is None or timeout > 0:
            self.edge.poll(-1)
        else:
            self.run.point("poll")
            self.edge.is_set = False
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        pass


class HookedLoop(SteppedLoop):
    """The same with the iteration hooks of `EpollEventLoop`, whose methods these are."""

    wake_fd = -1  # the plane in Python calls `wake`
    _before_poll: Any = EpollEventLoop._before_poll
    _after_poll: Any = EpollEventLoop._after_poll
    add_iteration_hook: Any = EpollEventLoop.add_iteration_hook
    remove_iteration_hook: Any = EpollEventLoop.remove_iteration_hook

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._iteration_hooks: tuple[Any, ...] = ()

    def _choose_poll(self) -> None:
        """Keep to the poll of this loop: only the native plane has one."""

    def wake(self) -> None:
        """Make the poll that runs, or else the next, return. Thread: any."""
        self.edge.write()

    def select(self, timeout: float | None = None) -> list[Any]:
        """As `WatchingSelector.select`."""
        if self._before_poll():
            timeout = 0
        super().select(timeout)
        self._after_poll()
        return []


class _Epoll:
    """What a parker takes for its epoll: that of one eventfd."""

    def register(self, edge: SteppedEdge, events: int) -> None:
        self.poll = edge.poll


_STAND_INS: dict[str, Any] = {
    "ring.wakeups.threading": SimpleNamespace(Lock=lambda: SteppedLock(NOW.run)),
    "ring.wakeups.os": SimpleNamespace(
        eventfd=lambda *_: SteppedEdge(NOW.run, WORKER, NOW.timeouts),
        EFD_CLOEXEC=0,
        eventfd_write=lambda edge, _: edge.write(),
    ),
    "ring.wakeups.select": SimpleNamespace(epoll=_Epoll, EPOLLIN=1, EPOLLET=0),
    "work.worker.threading": SimpleNamespace(
        Thread=lambda target, name, daemon: SteppedThread(NOW.run, target, name),
        current_thread=lambda: None,
    ),
    "ring.ring.Entry": OwnedEntry,
    "ring.loop_side.DeliverySignal": SteppedSignal,
    "work.make_work.RawWork": SteppedWork,
    "work.make_work.PendingWork": SteppedPendingWork,
    "bridge.bridge.Requests": SteppedRequests,
    "work.make_work.SingleRecordTlsWork": SteppedTlsWork,
    "work.make_work.StartTlsWork": SteppedStartTlsWork,
    "work.worker.Share": SmallShare,
    "bridge.parts.Ring": SteppedRing,
    "bridge.parts.Parker": SteppedParker,
    "ring.channel.Ring": SteppedRing,
    "ring.channel.Parker": SteppedParker,
}

Scenario = Callable[[Run], Callable[[], Hashable]]


def explore_real(scenario: Scenario, *, timeouts: int = 0, **settings: Any) -> Explored:
    """Explore a scenario of the real code, as `explore` does.

    `timeouts`: how many sleeps of the worker may end by their timeout.
    """

    def step(run: Run) -> Callable[[], Hashable]:
        NOW.run = run
        return scenario(run)

    NOW.timeouts = timeouts
    with contextlib.ExitStack() as stack:
        for target, stand_in in _STAND_INS.items():
            stack.enter_context(mock.patch(f"asyncrev.{target}", stand_in))
        return explore(step, **settings)
