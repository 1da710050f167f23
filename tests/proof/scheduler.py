"""Runs actors on real threads, one step at a time, in every order.

Theory of operation. One actor runs at a time; all others wait at a *point*, the place before an
access that another thread can notice (a cursor, a flag, a lock, a queue). At a point the actor that
runs decides who goes on, and hands over if that is another. A run is repeated from its beginning
for each order (depth first), so what runs must be deterministic apart from the choices made here.

All orders are run in which an actor that could go on is interrupted at most so many times; where
it waits or ends, all others are tried. No order is left out for being like another: no state is
kept, so nothing need be known of what runs. Most races need one or two interruptions (Musuvathi
and Qadeer, "Iterative Context Bounding", PLDI 2007).
"""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from tests.support import DEADLINE_S

__all__ = ["Aborted", "Actor", "Explored", "Forbidden", "Run", "explore"]

_MOST_POINTS = 5000  # of one run; more is an actor that never comes to an end


class Aborted(BaseException):
    """Ends an actor of a run that is over; nothing may catch it for good."""


class Forbidden(AssertionError):
    """Some order ends in what must not be.

    Attributes:
        what: its name in the table of docs/proof.md.
        schedule: who passed which point, in that order.
    """

    def __init__(self, what: str, detail: str, schedule: list[str]) -> None:
        super().__init__(f"{what}: {detail}\n  " + "\n  ".join(schedule))
        self.what = what
        self.schedule = schedule


@dataclass(frozen=True)
class Explored:
    """What an exploration went through: how many runs, and what came out how often."""

    runs: int
    outcomes: dict[Hashable, int]


class Actor:
    """One thread of a run. `guard` is what must hold for its next step, None for nothing."""

    def __init__(self, name: str, body: Callable[[], None]) -> None:
        self.name = name
        self.body = body
        self.guard: Callable[[], bool] | None = None
        self.is_over = False
        self.gate = threading.Lock()
        self.gate.acquire()

    def is_ready(self) -> bool:
        """Whether it could make its next step."""
        return not self.is_over and (self.guard is None or self.guard())


class _Host(threading.Thread):
    """A thread for actors, one after another; to start a thread for each would take most time."""

    def __init__(self) -> None:
        super().__init__(name="proof-host", daemon=True)
        self.job = threading.Lock()
        self.job.acquire()
        self.work: Callable[[], None] | None = None
        self.start()

    def run(self) -> None:
        while True:
            self.job.acquire()
            work, self.work = self.work, None
            if work is None:
                return
            work()
            del work


@dataclass
class _Search:
    """What the runs of an exploration share. `path`: of each choice, whom to take, then others."""

    preemptions: int
    path: list[list[str]] = field(default_factory=list)
    hosts: list[_Host] = field(default_factory=list)


class Run:
    """One run of a scenario."""

    def __init__(self, search: _Search) -> None:
        self._search = search
        self._depth = 0  # how many choices were made
        self._preemptions_left = search.preemptions
        self._aborted = False
        self._ended = threading.Lock()
        self._ended.acquire()
        self._failure: tuple[str, str] | None = None
        self._error: BaseException | None = None
        self.is_on = False  # else points do nothing: before the first actor runs, and at the end
        self.actors: list[Actor] = []
        self.current: Actor | None = None
        self.schedule: list[str] = []
        self.outcome: Hashable = None
        self.at_end: list[Callable[[], None]] = []  # called after the actors, on any thread

    @property
    def me(self) -> str:
        """The name of the actor that runs; "" while none does."""
        return self.current.name if self.is_on and self.current is not None else ""

    # -- what actors call ----------------------------------------------------------------------

    def spawn(self, name: str, body: Callable[[], None]) -> Actor:
        """Add an actor; it runs when it is chosen."""
        actor = Actor(name, body)
        self.actors.append(actor)
        host = self._search.hosts.pop() if self._search.hosts else _Host()
        host.work = lambda: self._act(actor, host)
        host.job.release()
        return actor

    def point(self, label: str, guard: Callable[[], bool] | None = None) -> None:
        """Let others go first: all orders are tried. Return when this actor goes on.

        With `guard` it goes on only while that holds; if nobody can, they sleep for ever.
        """
        actor = self.current
        if not self.is_on or actor is None:
            return
        if self._aborted:
            raise Aborted
        actor.guard = guard
        self._hand_on(actor)
        if self._aborted:
            raise Aborted
        actor.guard = None
        self.schedule.append(f"{actor.name}: {label}")
        if len(self.schedule) > _MOST_POINTS:
            self.forbid("ASLEEP", f"no end after {_MOST_POINTS} points")

    def forbid(self, what: str, detail: str) -> None:
        """End the run: what must not happen has happened."""
        if self.is_on and not self._aborted:
            self._failure = (what, detail)
            self._aborted = True
            raise Aborted

    # -- the schedule --------------------------------------------------------------------------

    def _hand_on(self, actor: Actor) -> None:
        """Choose who goes on; come back when that is `actor`, or when the run is aborted."""
        chosen = self._choose()
        if chosen is None:
            self._aborted = True
        elif chosen is not actor:
            self.current = chosen
            chosen.gate.release()
            actor.gate.acquire()

    def _choose(self) -> Actor | None:
        """Return who makes the next step; None if nobody can."""
        ready = [actor for actor in self.actors if actor.is_ready()]
        if not ready:
            waiting = [actor.name for actor in self.actors if not actor.is_over]
            if waiting:
                self._failure = ("ASLEEP", f"{' and '.join(waiting)} would wait for ever")
            return None
        current = self.current
        goes_on = current in ready
        if len(ready) == 1 or (goes_on and not self._preemptions_left):
            return current if goes_on else ready[0]
        path = self._search.path
        if self._depth == len(path):
            # The one that runs comes first: to go on is cheap.
            ready.sort(key=lambda actor: actor is not current)
            path.append([actor.name for actor in ready])
        name = path[self._depth][0]
        self._depth += 1
        chosen = next((actor for actor in ready if actor.name == name), None)
        if chosen is None:
            self._error = RuntimeError(f"a run cannot be repeated: {name} is not ready any more")
            return None
        if goes_on and chosen is not current:
            self._preemptions_left -= 1
        return chosen

    # -- the threads ---------------------------------------------------------------------------

    def _act(self, actor: Actor, host: _Host) -> None:
        """Be `actor`, from when it is chosen first. Runs on `host`."""
        actor.gate.acquire()
        try:
            if not self._aborted:
                actor.body()
        except Aborted:
            pass
        except BaseException as error:
            self._error = self._error or error
            self._aborted = True
        actor.is_over = True
        self._search.hosts.append(host)
        if not self._aborted:
            chosen = self._choose()
            if chosen is not None:
                self.current = chosen
                chosen.gate.release()
                return
            self._aborted = True
        # Each that is left is ended in turn, by itself.
        left = next((other for other in self.actors if not other.is_over), None)
        if left is None:
            self._ended.release()
        else:
            self.current = left
            left.gate.release()

    def go(self) -> None:
        """Run all actors to their end.

        Raises:
            Forbidden: this order ends in what must not be.
        """
        self.is_on = True
        self.current = chosen = self._choose()
        assert chosen is not None
        chosen.gate.release()
        if not self._ended.acquire(timeout=6 * DEADLINE_S):
            raise RuntimeError("an actor waits for something else than a point")
        self.is_on = False
        for call in self.at_end:
            call()
        if self._failure is not None:
            raise Forbidden(*self._failure, self.schedule)
        if self._error is not None:
            raise self._error


def explore(
    scenario: Callable[[Run], Callable[[], Hashable]],
    *,
    preemptions: int,
    most_runs: int = 1_000_000,
) -> Explored:
    """Run `scenario` in every order with at most that many `preemptions`.

    It spawns the first actors of a run, and returns what tells the outcome of a whole one; that may
    call `forbid` of its run, too.

    Raises:
        Forbidden: the first order found that must not be.
        RuntimeError: there are more than `most_runs`.
    """
    search = _Search(preemptions)
    runs = 0
    outcomes: dict[Hashable, int] = {}
    try:
        while True:
            run = Run(search)
            conclude = scenario(run)
            run.go()
            runs += 1
            outcome = _concluded(run, conclude)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            path = search.path
            while path and len(path[-1]) == 1:
                path.pop()
            if not path:
                return Explored(runs, outcomes)
            del path[-1][0]
            if runs == most_runs:
                raise RuntimeError(f"{runs} runs were not enough; {len(path)} choices are open")
    finally:
        for host in search.hosts:
            host.job.release()
        for host in search.hosts:
            host.join()


def _concluded(run: Run, conclude: Callable[[], Hashable]) -> Hashable:
    run.is_on = True  # so that `forbid` works
    run.current = None
    try:
        return conclude()
    except Aborted:
        assert run._failure is not None
        raise Forbidden(*run._failure, run.schedule) from None
    finally:
        run.is_on = False
