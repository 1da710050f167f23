"""selector: watches beside asyncio's own registrations, and the wake-up of a poll."""

import selectors
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from asyncrev.loop.selector import HUNG_UP, MOST_EVENTS, READABLE, WRITABLE, WatchingSelector


@pytest.fixture
def selector() -> Iterator[WatchingSelector]:
    """A selector, closed at the end."""
    made = WatchingSelector()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets."""
    one, other = socket.socketpair()
    yield one, other
    one.close()
    other.close()


Pair = tuple[socket.socket, socket.socket]


def test_select_returns_epolls_events_of_watches_and_registrations(
    selector: WatchingSelector, pair: Pair
) -> None:
    """Alike, so that the loop passes over them once; only registrations are in the map."""
    one, other = pair
    selector.watch(one.fileno(), READABLE, print)
    selector.register(other, selectors.EVENT_WRITE)
    other.send(b"x")
    assert sorted(selector.select(0)) == sorted(
        [(one.fileno(), READABLE), (other.fileno(), WRITABLE)]
    )
    assert list(selector.get_map()) == [other.fileno()]


def test_watch_without_events_still_hears_a_hang_up(selector: WatchingSelector, pair: Pair) -> None:
    """This is what asyncio's registrations cannot do."""
    one, other = pair
    selector.watch(one.fileno(), 0, print)
    other.send(b"x")
    assert selector.select(0) == []
    other.close()
    ((fd, events),) = selector.select(0)
    assert fd == one.fileno()
    assert events & HUNG_UP


def test_rewatch_changes_the_events(selector: WatchingSelector, pair: Pair) -> None:
    """From now on."""
    one, _ = pair
    selector.watch(one.fileno(), READABLE, print)
    assert selector.select(0) == []
    selector.rewatch(one.fileno(), WRITABLE)
    assert selector.select(0) == [(one.fileno(), WRITABLE)]


def test_unwatch_forgets_and_twice_is_once(selector: WatchingSelector, pair: Pair) -> None:
    """Also when somebody has closed the descriptor under it."""
    one, other = pair
    selector.watch(one.fileno(), WRITABLE, print)
    selector.watch(other.fileno(), WRITABLE, print)
    selector.unwatch(one.fileno())
    selector.unwatch(one.fileno())
    fd = other.fileno()
    other.close()
    selector.unwatch(fd)
    assert not selector.watches
    assert selector.select(0) == []


def test_watch_of_a_closed_descriptor_raises(selector: WatchingSelector) -> None:
    """And leaves no watch behind."""
    with pytest.raises(OSError, match="Bad file"):
        selector.watch(12345, READABLE, print)
    assert not selector.watches


@pytest.mark.parametrize(
    ("asked", "events", "mask"),
    [
        (selectors.EVENT_READ, READABLE, selectors.EVENT_READ),
        (selectors.EVENT_READ, WRITABLE, 0),
        (selectors.EVENT_WRITE, WRITABLE, selectors.EVENT_WRITE),
        (selectors.EVENT_READ, HUNG_UP, selectors.EVENT_READ),
        (selectors.EVENT_WRITE, HUNG_UP, selectors.EVENT_WRITE),
        (3, READABLE | HUNG_UP, 3),
        (3, READABLE | WRITABLE, 3),
    ],
)
def test_registered_translates_as_selectors_does(
    selector: WatchingSelector, pair: Pair, asked: int, events: int, mask: int
) -> None:
    """A hang-up is readable and writable, so far as it was asked for."""
    key = selector.register(pair[0], asked, "data")
    assert selector.registered(pair[0].fileno(), events) == (key, mask)
    assert selector.registered(pair[1].fileno(), events) is None


def test_wake_ends_a_poll_that_waits(selector: WatchingSelector) -> None:
    """From another thread; a wake-up before the poll counts for the next, and only once.

    Alone it is no event that anybody has to hear of.
    """
    polled: list[object] = []
    thread = threading.Thread(target=lambda: polled.append(selector.select(None)))
    thread.start()
    selector.wake()
    thread.join(10)
    assert polled == [[]]
    selector.wake()
    selector.wake()
    began_s = time.monotonic()
    assert selector.select(10) == []
    assert time.monotonic() - began_s < 10, "it was woken"
    began_s = time.monotonic()
    assert selector.select(0.05) == []
    assert time.monotonic() - began_s >= 0.05, "and only once"


def test_wake_after_close_raises(selector: WatchingSelector) -> None:
    """Closing is idempotent."""
    selector.close()
    selector.close()
    with pytest.raises(OSError, match="Bad file"):
        selector.wake()


def test_hooks_stand_around_the_poll_and_can_make_it_not_wait(selector: WatchingSelector) -> None:
    """Without a timeout the second select would wait for ever."""
    calls: list[str] = []

    def before() -> bool:
        calls.append("before")
        return True

    selector.before_poll = before
    selector.after_poll = lambda: calls.append("after")
    assert selector.select(None) == []
    assert calls == ["before", "after"]
    selector.before_poll = lambda: False
    selector.after_poll = None
    assert selector.select(0) == []


def test_timeouts_are_rounded_up_to_whole_milliseconds(selector: WatchingSelector) -> None:
    """Or a timer half a millisecond away would be polled for; a negative one is none."""
    asked: list[float] = []

    class Epoll:
        def poll(self, timeout_s: float, most: int) -> list[tuple[int, int]]:
            asked.append(timeout_s)
            assert most == MOST_EVENTS
            raise InterruptedError

    epoll, selector._selector = selector._selector, Epoll()
    for timeout in (None, 0, -3, 0.0001, 0.0015, 2):
        assert selector.select(timeout) == []
    selector._selector = epoll
    assert asked == [-1.0, 0, 0, 0.001, 0.002, 2]


def test_select_of_more_than_it_returns_serves_the_rest_next(selector: WatchingSelector) -> None:
    """Nobody starves behind MOST_EVENTS others."""
    pairs = [socket.socketpair() for _ in range(MOST_EVENTS + 20)]
    for one, _ in pairs:
        selector.watch(one.fileno(), WRITABLE, print)
    first, second = selector.select(0), selector.select(0)
    assert len(first) == MOST_EVENTS
    assert {fd for fd, _ in first + second} == {one.fileno() for one, _ in pairs}
    for one, other in pairs:
        selector.unwatch(one.fileno())
        one.close()
        other.close()
