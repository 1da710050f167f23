"""ready_batches: many ready descriptors in one call, in the order of the poll with all others."""

import asyncio
import selectors
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asyncrev import EpollEventLoop
from asyncrev.loop.selector import HUNG_UP, MOST_EVENTS, READABLE, WRITABLE
from tests.loop.test_order import Program
from tests.wires import Plain

Pairs = list[tuple[socket.socket, socket.socket]]
both_modes = pytest.mark.parametrize("debug", [False, True])


class Noting:
    """A handler that notes its batches; it receives one byte for each key that has a socket."""

    def __init__(self, name: str, notes: list[Any], socks: dict[int, socket.socket]) -> None:
        self.name, self.notes, self.socks = name, notes, socks
        self.on_batch: Callable[[list[int]], object] = lambda keys: None
        self.keys: dict[int, int] = {}  # of descriptors

    def on_ready_batch(self, events: Any) -> None:
        keys = [self.keys[fd] for fd, _ in events]
        for key in keys:
            if key in self.socks:
                self.socks[key].recv(1)
        self.notes.append((self.name, *keys))
        self.on_batch(list(keys))


def watch(loop: Any, sock: socket.socket, handler: Noting, key: int) -> None:
    """Have the handler get its events, and note it by `key`."""
    handler.keys[sock.fileno()] = key
    loop.watch_in_batches(sock.fileno(), READABLE, handler)


@pytest.fixture
def loop() -> Iterator[Any]:
    """Our loop, out of debug mode, closed at the end."""
    made = EpollEventLoop()
    made.set_debug(False)
    yield made
    made.close()


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    """Pairs of sockets whose first ends have a byte to read."""
    made = [socket.socketpair() for _ in range(8)]
    for mine, peer in made:
        mine.setblocking(False)
        peer.send(b"x")
    yield made
    for mine, peer in made:
        mine.close()
        peer.close()


def polled_in_order(loop: Any, pairs: Pairs, order: str) -> None:
    """Give the loop the events of a poll that found `pairs` ready in `order`, then run it."""
    loop._process_events([(pairs[int(index)][0].fileno(), READABLE) for index in order])
    run_without_a_poll(loop)


def run_without_a_poll(loop: Any) -> None:
    """Run what is in the queue of `loop`; a poll would find the same again."""
    loop.call_soon(loop.stop)
    loop._selector.select, real_select = lambda timeout: [], loop._selector.select
    loop.run_forever()
    loop._selector.select = real_select


# -- order ---------------------------------------------------------------------------------------


@both_modes
def test_handler_gets_its_events_up_to_the_next_of_another_in_order(
    loop: Any, pairs: Pairs, debug: bool
) -> None:
    """Two handlers, a watch and a reader of asyncio, in any order of the poll."""
    loop.set_debug(debug)
    notes: list[Any] = []
    one, two = Noting("one", notes, {}), Noting("two", notes, {})
    for index, handler in enumerate((one, one, one, one, two, two)):
        watch(loop, pairs[index][0], handler, 1 << 40 | index)
    loop.watch(pairs[6][0].fileno(), READABLE, lambda events: notes.append(("watch",)))
    loop.add_reader(pairs[7][0].fileno(), lambda: notes.append(("reader",)))

    def key(index: int) -> int:
        return 1 << 40 | index

    for order in ("01645273", "70123", "6", "012345", "70616253"):
        notes.clear()
        polled_in_order(loop, pairs, order)
        expected: list[tuple[Any, ...]] = []
        for index in map(int, order):
            name = ("one",) * 4 + ("two",) * 2 + ("watch", "reader")
            if index > 5:
                expected.append((name[index],))
            elif expected and expected[-1][0] == name[index] and not debug:
                expected[-1] += (key(index),)
            else:
                expected.append((name[index], key(index)))
        assert notes == expected, order
    for index in range(7):
        loop.unwatch(pairs[index][0].fileno())
    loop.remove_reader(pairs[7][0].fileno())


class BatchedProgram(Program):
    """A program whose readers are those of one handler, which takes them in batches."""

    ACTIONS = tuple(action for action in Program.ACTIONS if action not in ("remove", "add"))

    async def connect(self) -> None:
        await super().connect()
        self.index_of: dict[int, int] = {}
        for index in range(self.streams, len(self.pairs)):
            fd = self.pairs[index][0].fileno()
            self.loop.remove_reader(fd)
            self.loop.watch_in_batches(fd, READABLE, self)
            self.index_of[fd] = index

    batches = 0

    def on_ready_batch(self, events: Any) -> None:
        self.batches += len(events) > 1
        for fd, _ in events:
            index = self.index_of[fd]
            try:
                self.readable(index)
            except BlockingIOError as error:  # polled twice, because an exit came between
                self.loop.call_exception_handler({"message": "", "exception": error})

    def close(self) -> None:
        for index in range(self.streams, len(self.pairs)):
            self.loop.unwatch(self.pairs[index][0].fileno())
        super().close()


class StockProgram(Program):
    """The same on asyncio's loop: it does not remove its readers, nor add them again."""

    ACTIONS = BatchedProgram.ACTIONS


@both_modes
def test_random_programs_with_batches_run_in_the_order_of_the_stock_loop(debug: bool) -> None:
    """Beside streams, a writer, timers, other threads, stops and exceptions, poll for poll."""
    batches = 0
    for seed in range(60):
        stock, ours = asyncio.SelectorEventLoop(), EpollEventLoop()
        ours.set_debug(debug)
        ours.slow_callback_duration = 600
        batched = BatchedProgram(ours, seed)
        expected, notes = StockProgram(stock, seed).run(), batched.run()
        assert notes == expected, f"seed {seed}"
        batches += batched.batches
    assert (batches > 0) is not debug, "else the programs would have tried nothing"


def test_poll_gives_a_handler_all_that_is_ready_in_one_call(loop: Any) -> None:
    """Up to the most events of a poll; what epoll reported of each is beside its key."""
    pairs = [socket.socketpair() for _ in range(MOST_EVENTS)]
    batches: list[dict[int, int]] = []

    class Handler:
        def on_ready_batch(self, events: Any) -> None:
            batches.append({key_of[fd]: reported for fd, reported in events})

    handler = Handler()
    key_of = {mine.fileno(): -key for key, (mine, _) in enumerate(pairs)}
    for key, (mine, peer) in enumerate(pairs):
        loop.watch_in_batches(mine.fileno(), READABLE, handler)
        if key == 5:
            peer.close()
        else:
            peer.send(b"x")
    loop.rewatch(pairs[7][0].fileno(), WRITABLE)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.call_soon(loop.stop)
    loop.run_forever()
    events = batches[0]
    assert set(events) == {-key for key in range(MOST_EVENTS)}
    assert events.pop(-5) & HUNG_UP
    assert events.pop(-7) == WRITABLE
    assert set(events.values()) == {READABLE}
    for mine, peer in pairs:
        loop.unwatch(mine.fileno())
        mine.close()
        peer.close()
    assert not loop._selector.batch_watches


# -- descriptors that go -------------------------------------------------------------------------


@both_modes
def test_descriptor_unwatched_before_the_call_is_not_in_the_batch(
    loop: Any, pairs: Pairs, debug: bool
) -> None:
    """Nor does it divide a batch."""
    loop.set_debug(debug)
    notes: list[Any] = []
    handler = Noting("batch", notes, {})
    for index in range(5):
        watch(loop, pairs[index][0], handler, index)

    def unwatch(events: int) -> None:
        for index in (2, 5):
            loop.unwatch(pairs[index][0].fileno())

    loop.watch(pairs[6][0].fileno(), READABLE, unwatch)
    loop.watch(pairs[5][0].fileno(), READABLE, unwatch)
    polled_in_order(loop, pairs, "6125340")
    alone = [("batch", 1), ("batch", 3), ("batch", 4), ("batch", 0)]
    assert notes == (alone if debug else [("batch", 1, 3, 4, 0)])


def test_descriptor_that_was_closed_and_is_watched_again_has_one_watch_only(loop: Any) -> None:
    """The kernel gives its number away at once, and forgets what epoll was asked for."""
    notes: list[Any] = []
    handler = Noting("batch", notes, {})
    for again in (loop.watch, loop.watch_in_batches, loop.watch):
        mine, peer = socket.socketpair()
        fd = mine.fileno()
        again(fd, READABLE, handler)
        watched = [fd in loop._selector.watches, fd in loop._selector.batch_watches]
        assert sorted(watched) == [False, True]
        mine.close()
        peer.close()
    loop.unwatch(fd)
    loop.unwatch(fd)
    assert fd not in loop._selector.watches
    assert fd not in loop._selector.batch_watches


def test_watch_in_batches_refuses_what_cannot_be_watched(loop: Any, pairs: Pairs) -> None:
    """A descriptor that has a watch, a closed loop."""
    handler = Noting("batch", [], {})
    fd = pairs[0][0].fileno()
    loop.watch(fd, READABLE, print)
    with pytest.raises(FileExistsError):
        loop.watch_in_batches(fd, READABLE, handler)
    assert loop._selector.watches == {fd: print}
    assert not loop._selector.batch_watches
    watch(loop, pairs[1][0], handler, 0)
    selector = loop._selector
    loop.close()
    assert not selector.batch_watches
    with pytest.raises(RuntimeError, match="closed"):
        loop.watch_in_batches(fd, READABLE, handler)


def test_descriptor_watched_in_batches_is_not_in_the_map_of_the_selector(
    loop: Any, pairs: Pairs
) -> None:
    """As with the descriptors of streams; asyncio's own registrations work beside it."""
    fd = pairs[0][0].fileno()
    loop.watch_in_batches(fd, READABLE, Noting("batch", [], {}))
    assert fd not in loop._selector.get_map()
    loop._selector.register(pairs[1][0], selectors.EVENT_READ)
    assert pairs[1][0].fileno() in loop._selector.get_map()
    loop._selector.unregister(pairs[1][0])
    loop.unwatch(fd)


# -- handlers that fail --------------------------------------------------------------------------


@both_modes
def test_handler_that_raises_is_reported_and_the_others_are_dispatched(
    loop: Any, pairs: Pairs, debug: bool
) -> None:
    """What it has not received is reported again by the next poll."""
    loop.set_debug(debug)
    notes: list[Any] = []
    reported: list[Any] = []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    socks = {index: pairs[index][0] for index in (3, 4)}
    good, bad = Noting("good", notes, socks), Noting("bad", notes, {})

    def fail(keys: list[int]) -> None:
        if len(reported) < 1:
            raise ZeroDivisionError
        for key in keys:
            pairs[key][0].recv(1)

    bad.on_batch = fail
    for index, handler in ((1, bad), (2, bad), (3, good), (4, good)):
        watch(loop, pairs[index][0], handler, index)
    loop.watch(pairs[0][0].fileno(), READABLE, lambda events: pairs[0][0].recv(1))
    polled_in_order(loop, pairs, "01234")
    assert [type(error) for error in reported] == [ZeroDivisionError]
    seen = [key for name, *keys in notes for key in keys]
    assert seen == [1, 2, 3, 4]
    notes.clear()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.call_soon(loop.stop)
    loop.run_forever()
    again = {key for name, *keys in notes for key in keys}
    assert 1 in again, "it is ready still"
    for index in range(5):
        loop.unwatch(pairs[index][0].fileno())


def test_keyboard_interrupt_in_a_handler_leaves_the_others_for_the_next_run(
    loop: Any, pairs: Pairs
) -> None:
    """They come first then, in their order, batches and watches alike."""
    notes: list[Any] = []
    bad, good = Noting("bad", notes, {}), Noting("good", notes, {})

    def interrupt(keys: list[int]) -> None:
        raise KeyboardInterrupt

    bad.on_batch = interrupt
    for index, handler in ((0, bad), (1, bad), (3, good), (4, good)):
        watch(loop, pairs[index][0], handler, index)
    loop.watch(pairs[2][0].fileno(), READABLE, lambda events: notes.append(("watch",)))
    with pytest.raises(KeyboardInterrupt):
        polled_in_order(loop, pairs, "01234")
    assert notes == [("bad", 0, 1)]
    loop.call_soon(notes.append, ("later",))
    polled_in_order(loop, pairs, "")
    assert notes == [("bad", 0, 1), ("watch",), ("good", 3, 4), ("later",)]
    for index in range(5):
        loop.unwatch(pairs[index][0].fileno())


def test_streams_beside_a_handler_are_one_entry_of_the_queue_with_it(loop: Any) -> None:
    """As they are without a handler."""
    protocols, notes = [Plain() for _ in range(3)], []
    peers = []

    async def connect() -> None:
        for protocol in protocols:
            one, peer = socket.socketpair()
            one.setblocking(False)
            await loop.create_connection(lambda p=protocol: p, sock=one)
            peers.append(peer)
        await asyncio.sleep(0)

    loop.run_until_complete(connect())
    mine, peer = socket.socketpair()
    watch(loop, mine, Noting("batch", notes, {9: mine}), 9)
    for sock in (*peers, peer):
        sock.send(b"x")
    before = len(loop._ready)
    loop._process_events(loop._selector.select(0))
    assert len(loop._ready) - before == 1
    run_without_a_poll(loop)
    assert [bytes(protocol.data) for protocol in protocols] == [b"x"] * 3
    assert notes == [("batch", 9)]
    loop.unwatch(mine.fileno())
    for protocol, sock in zip(protocols, peers, strict=True):
        protocol.transport.abort()
        sock.close()
    loop.run_until_complete(asyncio.sleep(0))
    mine.close()
    peer.close()
