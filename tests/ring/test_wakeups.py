"""wakeups: every order of the two protocols in a model, then the real thing on real threads."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from asyncrev.ring.wakeups import DeliverySignal, Parker
from tests.interrupting import everywhere, interrupted
from tests.planes import NATIVE_PLANE
from tests.support import DEADLINE_S, wait_until

each_plane = pytest.mark.usefixtures("each_plane")

# -- the model -----------------------------------------------------------------------------------
#
# An actor is a generator that yields before each access of shared state. It yields what must hold
# for its next step, or None. `explore` runs all orders; a state that was seen is not run on.

Actor = Iterator[Callable[[], bool] | None]


def explore(make: Callable[[], tuple[SimpleNamespace, list[Actor]]]) -> set[str]:
    """Return "done" and "lost", whichever some order of all actors' steps ends in."""
    outcomes: set[str] = set()
    seen: set[Any] = set()
    todo: list[tuple[int, ...]] = [()]
    while todo:
        order = todo.pop()
        state, actors = make()
        guards: dict[int, Any] = {n: next(actor) for n, actor in enumerate(actors)}
        for n in order:
            try:
                guards[n] = next(actors[n])
            except StopIteration:
                del guards[n]
        where = tuple(frame_of(actors[n]) if n in guards else None for n in range(len(actors)))
        if (key := (where, tuple(sorted(vars(state).items())))) in seen:
            continue
        seen.add(key)
        ready = [n for n, guard in guards.items() if guard is None or guard()]
        todo.extend((*order, n) for n in ready)
        if not ready:
            outcomes.add("lost" if state.made != state.seen else "done")
    return outcomes


def frame_of(actor: Any) -> tuple[Any, ...]:
    """Return where a generator stands, with all that decides how it goes on."""
    inner = () if actor.gi_yieldfrom is None else frame_of(actor.gi_yieldfrom)
    plain = {k: v for k, v in actor.gi_frame.f_locals.items() if isinstance(v, int)}
    return actor.gi_frame.f_lasti, tuple(sorted(plain.items())), inner


def lock(s: SimpleNamespace) -> Actor:
    """Take the lock, in one step, when it is free."""
    yield lambda: not s.locked
    s.locked = True


def publisher(s: SimpleNamespace, nitems: int, *, locked: bool, look_first: bool = False) -> Actor:
    """The loop: publish, then unpark (`Parker.unpark`); in the wrong order on request."""
    for _ in range(nitems):
        if look_first:
            yield None
            wake, s.parked = s.parked, False
            yield None
            s.made += 1
        else:
            yield None
            s.made += 1
            if locked:
                yield from lock(s)
            yield None
            wake = s.parked
            yield None
            s.parked = False
            s.locked = False
        if wake:
            yield None
            s.tokens += 1


def parker(s: SimpleNamespace, nitems: int, *, locked: bool, look_first: bool = False) -> Actor:
    """The worker: take what is there, else park (`Parker.park` without its backstop)."""
    while s.seen < nitems:
        yield None
        if s.made != s.seen:
            s.seen = s.made
            continue
        if locked:
            yield from lock(s)
        if not look_first:
            yield None
            s.parked = True
        yield None
        if s.made != s.seen:
            s.parked = s.locked = False
            continue
        if look_first:
            yield None
            s.parked = True
        s.locked = False
        yield lambda: s.tokens > 0
        s.tokens -= 1


def shared(**more: int) -> SimpleNamespace:
    """Return the shared state at the start."""
    return SimpleNamespace(made=0, seen=0, locked=False, **more)


@pytest.mark.parametrize("nitems", [1, 2, 3])
@pytest.mark.parametrize(
    ("locked", "look_first", "outcomes"),
    [
        (True, True, {"done"}),  # as `Parker` does it: look, set, all under the lock
        (True, False, {"done"}),  # under the lock the order inside does not matter
        (False, True, {"done", "lost"}),  # published between the look and the set
    ],
)
def test_parking_in_every_order(
    nitems: int, locked: bool, look_first: bool, outcomes: set[str]
) -> None:
    """I5, I7: no wake-up is lost, and the model finds the loss where there is one."""

    def make() -> tuple[SimpleNamespace, list[Actor]]:
        s = shared(parked=False, tokens=0)
        return s, [
            publisher(s, nitems, locked=locked),
            parker(s, nitems, locked=locked, look_first=look_first),
        ]

    assert explore(make) == outcomes


def test_unparking_before_publishing_loses_a_wake() -> None:
    """I5: the publish comes first; the model shows why."""

    def make() -> tuple[SimpleNamespace, list[Actor]]:
        s = shared(parked=False, tokens=0)
        return s, [publisher(s, 1, locked=False, look_first=True), parker(s, 1, locked=False)]

    assert explore(make) == {"done", "lost"}


def worker(
    s: SimpleNamespace, nresults: int, *, peek: bool, ask_before_sleep: bool, ask_first: bool
) -> Actor:
    """The worker: `finish` each result (with a peek that may be stale), `take` at the end."""
    for _ in range(nresults):
        if not ask_first:
            yield None
            s.made += 1
        if not peek:  # a stale peek says "a delivery will come" and requests none
            yield from request(s)
        if ask_first:
            yield None
            s.made += 1
    if ask_before_sleep:
        yield from request(s)


def request(s: SimpleNamespace) -> Actor:
    """`DeliverySignal.request`."""
    yield from lock(s)
    yield None
    asked = s.awaited
    yield None
    s.awaited = True
    s.locked = False
    if not asked:
        yield None
        s.posted += 1


def deliverer(s: SimpleNamespace, *, clear_first: bool, hooked: bool) -> Actor:
    """The loop: for each wake-up one delivery; with iteration hooks it holds while it is awake."""
    while True:
        yield lambda: s.posted > 0
        s.posted = s.posted - 1 if not hooked else 0
        if hooked:
            yield from set_awaited(s, True)
        if clear_first:
            yield from set_awaited(s, False)
        yield None
        s.seen = s.made
        if not clear_first:
            yield from set_awaited(s, False)


def set_awaited(s: SimpleNamespace, value: bool) -> Actor:
    """`DeliverySignal.clear` and `DeliverySignal.hold`."""
    yield from lock(s)
    yield None
    s.awaited = value
    s.locked = False


@pytest.mark.parametrize("nresults", [1, 2, 3])
@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize(
    ("clear_first", "peek", "ask_before_sleep", "ask_first", "lost_from"),
    [
        (True, False, True, False, 9),  # as it is
        (True, True, True, False, 9),  # every peek wrong: `take` asks under the lock
        (True, True, False, False, 1),  # every peek wrong and nobody asks again
        (True, False, False, True, 1),  # asked before the cursor was moved
        (False, False, True, False, 2),  # deliver, then clear: the second result is lost
    ],
)
def test_requesting_a_delivery_in_every_order(
    nresults: int,
    hooked: bool,
    clear_first: bool,
    peek: bool,
    ask_before_sleep: bool,
    ask_first: bool,
    lost_from: int,
) -> None:
    """I6, I7: no delivery is lost, and the model finds the loss where there is one."""

    def make() -> tuple[SimpleNamespace, list[Actor]]:
        s = shared(awaited=False, posted=0)
        return s, [
            worker(s, nresults, peek=peek, ask_before_sleep=ask_before_sleep, ask_first=ask_first),
            deliverer(s, clear_first=clear_first, hooked=hooked),
        ]

    assert ("lost" in explore(make)) == (nresults >= lost_from)


# -- Parker --------------------------------------------------------------------------------------


@each_plane
def test_park_with_work_returns_at_once() -> None:
    """I5: it looks before it sleeps, and nobody has to wake it."""
    bell = Parker()
    assert bell.park(lambda: True, DEADLINE_S)
    assert not bell.unpark()
    assert (bell.unparks, bell.backstop_wakes) == (0, 0)


@each_plane
def test_park_without_work_times_out_quietly() -> None:
    """A backstop that finds nothing is not a lost wake-up."""
    bell = Parker()
    assert not bell.park(lambda: False, 0.001)
    assert not bell.unpark()  # it does not sleep any more
    assert bell.backstop_wakes == 0


@each_plane
def test_park_counts_a_wake_that_was_lost() -> None:
    """Work that came without an unpark is found by the backstop, and counted."""
    bell = Parker()
    looks = iter([False, True])
    assert bell.park(lambda: next(looks), 0.001)
    assert bell.backstop_wakes == 1


@each_plane
def test_unpark_wakes_a_sleeper_once() -> None:
    """I7: the second of two unparks finds nobody asleep, and leaves no token behind."""
    bell, work = Parker(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(bell.park, work.is_set, DEADLINE_S)
        wait_until(lambda: bell.parked, "it is parked")
        work.set()
        assert bell.unpark()
        assert not bell.unpark()
        assert parked.result(DEADLINE_S)
    assert not bell.park(lambda: False, 0.001)
    assert (bell.unparks, bell.backstop_wakes) == (1, 0)


@each_plane
def test_park_woken_in_vain_says_that_there_is_no_work() -> None:
    """I7: a wake-up too many is allowed."""
    bell = Parker()
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(bell.park, lambda: False, DEADLINE_S)
        wait_until(lambda: bell.parked, "it is parked")
        assert bell.unpark()
        assert parked.result(DEADLINE_S) is False
    assert bell.backstop_wakes == 0


@each_plane
def test_unpark_between_look_and_sleep_is_not_lost() -> None:
    """I5: who publishes while the worker looks has to wait for the lock, and then wakes it."""
    bell, work = Parker(), []
    with ThreadPoolExecutor(1) as pool:
        unparked = []

        def look() -> bool:
            if not unparked:
                unparked.append(pool.submit(lambda: (work.append(1), bell.unpark())[1]))
                wait_until(lambda: work, "the other thread has published")
                return False  # what it saw before
            return bool(work)

        assert bell.park(look, DEADLINE_S)
        assert unparked[0].result(DEADLINE_S) is True
    assert bell.backstop_wakes == 0


class LatePoll:
    """Times out, and lets an unpark in before the sleeper is back at the lock."""

    def __init__(self, bell: Parker) -> None:
        self.bell = bell
        self.real = bell._poll

    def poll(self, timeout_s: float, most: int) -> list[Any]:
        """Say that nothing came, after something did; wait without a timeout as the real one."""
        if timeout_s >= 0:
            assert self.bell.unpark()
            return []
        return self.real.poll(timeout_s, most)


@each_plane
def test_unpark_at_the_last_moment_of_a_timeout_leaves_no_token(
    each_plane: SimpleNamespace,
) -> None:
    """The poll has timed out, the unpark came first to the lock: its wake-up is waited for.

    In Python: the native parker leaves it, and it ends the next sleep in vain (I7).
    """
    if each_plane.name != "python":
        pytest.skip("its poll cannot be replaced")
    bell = Parker()
    late = LatePoll(bell)
    bell._poll = late  # type: ignore[assignment]
    looks = iter([False, True])
    assert bell.park(lambda: next(looks), 0.001)
    bell._poll = late.real
    assert not late.real.poll(0)
    assert bell.backstop_wakes == 0


@each_plane
def test_parker_gives_its_descriptors_back() -> None:
    """`nothing_is_left` fails if it does not; this one says who it was."""
    before = os.listdir("/proc/self/fd")
    bell = Parker()
    assert len(os.listdir("/proc/self/fd")) == len(before) + 2
    del bell
    assert os.listdir("/proc/self/fd") == before


# -- DeliverySignal --------------------------------------------------------------------------------


@each_plane
def test_request_asks_once_until_cleared() -> None:
    """I6, I7: one post, however many results."""
    posts: list[int] = []
    signal = DeliverySignal(lambda: posts.append(1))
    assert [signal.request() for _ in range(3)] == [True, False, False]
    signal.clear()
    assert signal.request()
    assert (len(posts), signal.requests) == (2, 2)


@each_plane
def test_hold_makes_requests_needless_until_clear() -> None:
    """The loop is awake and will deliver anyway."""
    posts: list[int] = []
    signal = DeliverySignal(lambda: posts.append(1))
    signal.hold()
    assert not signal.request()
    assert not posts
    signal.clear()
    assert signal.request()


@each_plane
def test_request_that_cannot_be_posted_counts_as_not_asked() -> None:
    """The next one tries again, and the caller hears why."""

    def fail() -> None:
        raise OSError("closed")

    signal = DeliverySignal(fail)
    for _ in range(2):
        with pytest.raises(OSError, match="closed"):
            signal.request()
        assert not signal.awaited


@each_plane
def test_interrupt_anywhere_in_an_unpark_leaves_nobody_asleep(each_plane: SimpleNamespace) -> None:
    """It wakes the worker, or the next one does."""
    if each_plane.name == "native":
        pytest.skip("no Python code runs within a call of the native plane")

    def scenario(place: int) -> bool:
        bell, work = Parker(), threading.Event()
        with ThreadPoolExecutor(1) as pool:
            parked = pool.submit(bell.park, work.is_set, DEADLINE_S)
            wait_until(lambda: bell.parked, "it is parked")
            work.set()
            was = interrupted(bell.unpark, place, Parker.unpark)
            bell.unpark()
            assert parked.result(DEADLINE_S)
        assert bell.backstop_wakes == 0
        return was

    everywhere(scenario, least=3)


@each_plane
def test_requests_go_to_an_eventfd_once_there_is_one(each_plane: SimpleNamespace) -> None:
    """The native signal writes to a duplicate of it; the one in Python posts, which does the same.

    A negative number takes it back, and another eventfd may follow.
    """
    posts: list[int] = []
    signal = DeliverySignal(lambda: posts.append(1))
    for number in range(2):
        fd = os.eventfd(0, os.EFD_NONBLOCK)
        signal.wake_by(fd)
        signal.clear()
        assert signal.request()
        if each_plane.name == "native":
            assert os.eventfd_read(fd) == 1
        assert len(posts) == (number if each_plane.name == "native" else 2 * number + 1)
        signal.wake_by(-1)
        signal.clear()
        assert signal.request()
        assert len(posts) == (number + 1 if each_plane.name == "native" else 2 * number + 2)
        os.close(fd)
    assert signal.requests == 4


def test_full_eventfd_of_a_closed_loop_has_the_request_posted() -> None:
    """Whose error says what happened; it counts as not asked (`WatchingSelector.wake_fd`)."""
    if NATIVE_PLANE is None:
        pytest.skip("the native plane is not built")

    def fail() -> None:
        raise OSError("closed")

    signal = NATIVE_PLANE.DeliverySignal(fail)
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    signal.wake_by(fd)
    os.eventfd_write(fd, 2**64 - 2)
    os.close(fd)
    with pytest.raises(OSError, match="closed"):
        signal.request()
    assert not signal.awaited
