"""loop: callbacks run in the order of asyncio's own loop, in and out of debug mode."""

import asyncio
import contextlib
import itertools
import logging
import random
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asyncrev import EpollEventLoop
from asyncrev.loop.selector import READABLE
from tests.support import until
from tests.wires import Plain, iterations

LOOPS = [asyncio.SelectorEventLoop, EpollEventLoop]

# -- random programs on both loops -----------------------------------------------------------------


class Program:
    """Callbacks that note that they ran, and then do what a seeded generator says.

    As long as two loops run them in the same order they do the same, so that the first difference
    in order shows in the notes, the polls among them. Time is virtual and ready descriptors come
    in the order in which they were made, so that nothing but the loop decides.
    """

    streams = readers = 3

    def __init__(self, loop: Any, seed: int, most_actions: int = 60) -> None:
        self.loop, self.random = loop, random.Random(seed)
        self.notes: list[str] = []
        self.actions_left = most_actions
        self.now_s = 0.0
        self.from_threads: list[str] = []  # what arrives while the next poll lasts
        self.pairs = [socket.socketpair() for _ in range(self.streams + self.readers)]
        for pair in self.pairs:
            for sock in pair:
                sock.setblocking(False)
        self.rank = {mine.fileno(): index for index, (mine, _) in enumerate(self.pairs)}
        self.writer, self.writer_peer = socket.socketpair()  # always writable
        self.rank[self.writer.fileno()] = len(self.pairs)

    def run(self) -> list[str]:
        """Run until nothing is left to do; return the notes."""
        loop = self.loop
        loop.time = lambda: self.now_s
        loop.set_exception_handler(lambda _, context: self.note(repr(context.get("exception"))))
        loop.run_until_complete(self.connect())
        real_select, loop._selector.select = loop._selector.select, self.select
        self.real_select = real_select
        for _ in range(4):
            loop.call_soon(self.step, "start")
        self.idle = False
        while not self.idle:
            try:
                loop.run_forever()
            except SystemExit:
                self.note("exit")
        loop._selector.select = real_select
        self.close()
        return self.notes

    async def connect(self) -> None:
        for index in range(self.streams):
            kind = Chunks if index % 2 else Buffer
            mine = self.pairs[index][0]
            await self.loop.create_connection(lambda k=kind, i=index: k(self, i), sock=mine)
        for index in range(self.streams, len(self.pairs)):
            self.loop.add_reader(self.pairs[index][0], self.readable, index)

    def close(self) -> None:
        loop = self.loop
        loop.set_exception_handler(None)
        for index in range(self.streams):
            transport = loop._transports.get(self.pairs[index][0].fileno())
            if transport is not None:
                transport.abort()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        for sock in (*itertools.chain(*self.pairs), self.writer, self.writer_peer):
            sock.close()

    def select(self, timeout: float | None) -> Any:
        """Poll without waiting; time passes, and other threads call, as they would meanwhile."""
        ready = self.real_select(0)
        ready.sort(key=lambda event: self.rank.get(getattr(event[0], "fd", event[0]), -1))
        waits = timeout is None or timeout > 0
        for name in self.from_threads:
            self.loop.call_soon_threadsafe(self.step, name)
        if waits and not ready and not self.from_threads:
            if timeout is None:
                self.idle = True
                self.loop.stop()
            else:
                self.now_s += timeout
        self.from_threads.clear()
        self.note("poll")
        return ready

    # -- what runs -------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        self.notes.append(text)

    def readable(self, index: int) -> None:
        self.pairs[index][0].recv(100)
        self.step(f"reader {index}")

    def writable(self) -> None:
        self.loop.remove_writer(self.writer)
        self.step("writer")

    def step(self, name: str) -> None:
        """Note that `name` ran, and do what the generator says."""
        self.note(name)
        for _ in range(self.random.choice((0, 1, 2, 3))):
            if self.actions_left:
                self.actions_left -= 1
                self.act(self.random.choice(self.ACTIONS))

    def act(self, action: str) -> None:
        loop, number = self.loop, self.actions_left
        index = self.random.randrange(len(self.pairs))
        if action == "soon":
            loop.call_soon(self.step, f"soon {number}")
        elif action == "thread":
            self.from_threads.append(f"thread {number}")
        elif action == "timer":
            loop.call_later(self.random.choice((0, 1, 2)), self.step, f"timer {number}")
        elif action == "time":
            self.now_s += 1
        elif action == "input":
            with contextlib.suppress(OSError):
                self.pairs[index][1].send(b"x")
        elif action == "writer":
            loop.add_writer(self.writer, self.writable)
        elif action == "remove" and index >= self.streams:
            loop.remove_reader(self.pairs[index][0])
        elif action == "add" and index >= self.streams:
            loop.add_reader(self.pairs[index][0], self.readable, index)
        elif action == "end" and index < self.streams:
            with contextlib.suppress(OSError):
                self.pairs[index][1].shutdown(socket.SHUT_WR)
        elif action == "close" and index < self.streams:
            transport = loop._transports.get(self.pairs[index][0].fileno())
            if transport is not None:
                transport.close()
        elif action == "stop":
            loop.stop()
        elif action == "fail":
            loop.call_soon(self.fail, ValueError(f"failure {number}"))
        elif action == "exit":
            loop.call_soon(self.fail, SystemExit())

    def fail(self, error: BaseException) -> None:
        self.note("raises")
        raise error

    ACTIONS = (
        *("soon",) * 4,
        *("thread",) * 3,
        *("timer",) * 4,
        *("input",) * 9,
        *("time", "writer", "remove", "add", "end", "close", "stop", "fail", "exit"),
    )


class Chunks(asyncio.Protocol):
    """A stream of a program."""

    def __init__(self, program: Program, index: int) -> None:
        self.program, self.index = program, index

    def data_received(self, data: bytes) -> None:
        self.program.step(f"stream {self.index}: {len(data)}")

    def eof_received(self) -> None:
        self.program.step(f"stream {self.index}: end")

    def connection_lost(self, error: BaseException | None) -> None:
        self.program.note(f"stream {self.index}: lost")


class Buffer(Chunks, asyncio.BufferedProtocol):
    """The same with a buffer of its own."""

    def get_buffer(self, sizehint: int) -> bytearray:
        self.buffer = bytearray(8)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(self.buffer[:nbytes])


@pytest.mark.parametrize("first_seed", range(0, 200, 40))
@pytest.mark.parametrize("debug", [False, True])
def test_random_programs_run_in_the_order_of_the_stock_loop(first_seed: int, debug: bool) -> None:
    """Streams, readers, a writer, timers, other threads, stops and exceptions, poll for poll."""
    kinds: set[str] = set()
    for seed in range(first_seed, first_seed + 40):
        stock, ours = LOOPS[0](), LOOPS[1]()
        ours.set_debug(debug)
        ours.slow_callback_duration = 600
        expected, notes = Program(stock, seed).run(), Program(ours, seed).run()
        assert notes == expected, f"seed {seed}"
        kinds |= {note.split()[0] for note in notes}
    # Else the programs would have tried nothing.
    assert kinds >= {"soon", "thread", "timer", "reader", "stream", "writer", "exit", "raises"}


# -- what programs rely on -----------------------------------------------------------------------


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each of the two loops, closed at the end."""
    made = request.param()
    yield made
    made.close()


class Noting(asyncio.Protocol):
    """Notes what comes."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes
        self.on_data: Callable[[], object] = lambda: None

    def data_received(self, data: bytes) -> None:
        self.notes.append("data")
        self.on_data()


def test_greeting_comes_after_the_await_of_its_connection(loop: Any) -> None:
    """asyncssh's forwarders are told of their peer there; what came before that was lost."""
    notes: list[str] = []

    async def main() -> None:
        one, peer = socket.socketpair()
        one.setblocking(False)
        peer.send(b"220 ready\r\n")
        transport, _ = await loop.create_connection(lambda: Noting(notes), sock=one)
        notes.append("connected")
        await until(lambda: "data" in notes, "the greeting has come")
        transport.close()
        peer.close()
        await iterations(2)

    loop.run_until_complete(main())
    assert notes == ["connected", "data"]


def test_stop_in_a_stream_callback_leaves_what_it_scheduled_for_the_next_run(loop: Any) -> None:
    """And what is scheduled by the streams of one poll runs only after another poll."""
    notes: list[str] = []
    protocol = Noting(notes)

    def on_data() -> None:
        loop.call_soon(notes.append, "scheduled")
        loop.stop()

    async def connect() -> tuple[Any, socket.socket]:
        one, peer = socket.socketpair()
        one.setblocking(False)
        transport, _ = await loop.create_connection(lambda: protocol, sock=one)
        return transport, peer

    protocol.on_data = on_data
    transport, peer = loop.run_until_complete(connect())
    peer.send(b"x")
    loop.run_forever()
    assert notes == ["data"]
    loop.run_until_complete(asyncio.sleep(0))
    assert notes == ["data", "scheduled"]
    transport.abort()
    peer.close()
    loop.run_until_complete(asyncio.sleep(0))


@pytest.mark.parametrize("debug", [False, True])
def test_dispatch_that_raises_is_reported_and_the_others_of_its_poll_run(debug: bool) -> None:
    """As the exception of a Handle: it does not end the loop."""
    loop, reported, seen = EpollEventLoop(), [], []
    loop.set_debug(debug)
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    pairs = [socket.socketpair() for _ in range(3)]

    def dispatcher(sock: socket.socket) -> Callable[[int], None]:
        def dispatch(events: int) -> None:
            loop.unwatch(sock.fileno())
            seen.append(sock)
            if len(seen) == 1:
                raise OSError("out of watches")

        return dispatch

    for one, peer in pairs:
        loop.watch(one.fileno(), READABLE, dispatcher(one))
        peer.send(b"x")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert [str(error) for error in reported] == ["out of watches"]
    assert len(seen) == len(pairs)
    loop.close()
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_debug_mode_that_is_set_between_the_poll_and_its_streams_reports_a_slow_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """asyncio looks at what it ran as at a Handle then."""
    loop, notes = EpollEventLoop(), []
    loop.set_debug(False)
    loop.slow_callback_duration = 0

    async def connect() -> tuple[Any, socket.socket]:
        one, peer = socket.socketpair()
        one.setblocking(False)
        transport, _ = await loop.create_connection(lambda: Noting(notes), sock=one)
        return transport, peer

    transport, peer = loop.run_until_complete(connect())
    peer.send(b"x")
    loop.call_soon(loop.set_debug, True)
    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.run_until_complete(iterations(2))
    loop.set_debug(False)
    assert notes == ["data"]
    assert "Executing <events of streams of <EpollEventLoop running=True" in caplog.text
    transport.abort()
    peer.close()
    loop.run_until_complete(iterations(2))
    loop.close()


@pytest.mark.parametrize("debug", [False, True])
def test_keyboard_interrupt_in_a_stream_callback_loses_no_event_of_its_poll(debug: bool) -> None:
    """The rest of the poll comes first when the loop runs again."""
    loop, protocols = EpollEventLoop(), [Plain() for _ in range(3)]
    loop.set_debug(debug)
    peers = []

    def interrupt(data: bytes) -> None:
        raise KeyboardInterrupt

    async def connect() -> None:
        for protocol in protocols:
            one, peer = socket.socketpair()
            one.setblocking(False)
            await loop.create_connection(lambda p=protocol: p, sock=one)
            peers.append(peer)

    loop.run_until_complete(connect())
    protocols[0].data_received = interrupt  # type: ignore[method-assign]
    for peer in peers:
        peer.send(b"x")
    order: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(iterations(2))
    loop.call_soon(lambda: order.append("data" if protocols[2].data else "no data"))
    loop.run_until_complete(asyncio.sleep(0))
    assert [bytes(protocol.data) for protocol in protocols] == [b"", b"x", b"x"]
    assert order == ["data"]
    for protocol, peer in zip(protocols, peers, strict=True):
        protocol.transport.abort()
        peer.close()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
